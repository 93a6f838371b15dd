package main

import (
	"encoding/binary"
	"strconv"
	"time"
)

// Columns as PostgreSQL sends them, in binary, appended as JSON: no value is made on the way.

type column struct {
	key    string // with what stands before it
	append func(to, raw []byte) []byte
}

var userColumns = []column{
	{`{"id":`, appendNumber}, {`,"username":`, appendText}, {`,"first_name":`, appendText},
	{`,"last_name":`, appendText}, {`,"birthdate":`, appendDate}, {`,"bio":`, appendText},
	{`,"city":`, appendText}, {`,"country":`, appendText},
}

var postColumns = []column{
	{`{"id":`, appendNumber}, {`,"author_id":`, appendNumber}, {`,"content":`, appendText},
	{`,"privacy":`, appendText}, {`,"created_at":`, appendTime}, {`,"updated_at":`, appendTime},
}

// appendObject appends the first columns of a row.
func appendObject(to []byte, columns []column, row [][]byte) []byte {
	for i, column := range columns {
		to = append(to, column.key...)
		to = column.append(to, row[i])
	}
	return append(to, '}')
}

// appendMessage appends a row of id, from_user_id, content, client_id, created_at, read.
func appendMessage(to []byte, row [][]byte, me, other int64) []byte {
	author := number(row[1])
	recipient := me
	if author == me {
		recipient = other
	}
	to = appendNumber(append(to, `{"id":`...), row[0])
	to = strconv.AppendInt(append(to, `,"from_user_id":`...), author, 10)
	to = strconv.AppendInt(append(to, `,"to_user_id":`...), recipient, 10)
	to = appendText(append(to, `,"content":`...), row[2])
	to = appendText(append(to, `,"client_id":`...), row[3])
	to = appendTime(append(to, `,"created_at":`...), row[4])
	to = append(to, `,"read":`...)
	return append(strconv.AppendBool(to, row[5][0] != 0), '}')
}

// number is an integer or a bigint.
func number(raw []byte) int64 {
	if len(raw) == 4 {
		return int64(int32(binary.BigEndian.Uint32(raw)))
	}
	return int64(binary.BigEndian.Uint64(raw))
}

func appendNumber(to, raw []byte) []byte { return strconv.AppendInt(to, number(raw), 10) }

const hexadecimal = "0123456789abcdef"

// appendText escapes what JSON demands and nothing else, unlike encoding/json.
func appendText(to, raw []byte) []byte {
	if raw == nil {
		return append(to, "null"...)
	}
	to = append(to, '"')
	start := 0
	for i, c := range raw {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		to = append(to, raw[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			to = append(to, '\\', c)
		case '\b':
			to = append(to, `\b`...)
		case '\t':
			to = append(to, `\t`...)
		case '\n':
			to = append(to, `\n`...)
		case '\f':
			to = append(to, `\f`...)
		case '\r':
			to = append(to, `\r`...)
		default:
			to = append(to, '\\', 'u', '0', '0', hexadecimal[c>>4], hexadecimal[c&15])
		}
	}
	return append(append(to, raw[start:]...), '"')
}

// PostgreSQL counts from here.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

func appendDate(to, raw []byte) []byte {
	if raw == nil {
		return append(to, "null"...)
	}
	to = appendDay(append(to, '"'), time.Unix(epoch+number(raw)*86400, 0).UTC())
	return append(to, '"')
}

// appendTime leaves the fraction out where there is none.
func appendTime(to, raw []byte) []byte {
	microseconds := number(raw)
	seconds, fraction := microseconds/1e6, microseconds%1e6
	if fraction < 0 {
		seconds, fraction = seconds-1, fraction+1e6
	}
	t := time.Unix(epoch+seconds, 0).UTC()
	hour, minute, second := t.Clock()
	to = append(appendDay(append(to, '"'), t), 'T')
	to = append(appendDigits(to, hour, 2), ':')
	to = append(appendDigits(to, minute, 2), ':')
	to = appendDigits(to, second, 2)
	if fraction > 0 {
		to = appendDigits(append(to, '.'), int(fraction), 6)
	}
	return append(to, 'Z', '"')
}

func appendDay(to []byte, t time.Time) []byte {
	year, month, day := t.Date()
	to = append(appendDigits(to, year, 4), '-')
	to = append(appendDigits(to, int(month), 2), '-')
	return appendDigits(to, day, 2)
}

// appendDigits appends a number with zeros before it.
func appendDigits(to []byte, value, width int) []byte {
	var digits [6]byte
	for i := width - 1; i >= 0; i-- {
		digits[i] = byte('0' + value%10)
		value /= 10
	}
	return append(to, digits[:width]...)
}
