package main

// What comes in, decoded and checked.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	plain      = regexp.MustCompile(`^[0-9]{1,16}$`)
	feedCursor = regexp.MustCompile(`^[1-9][0-9]{0,15}(-[0-9]{1,9})?$`)
)

func parseID(text string, max int64) (int64, bool) {
	if text == "" || text[0] < '1' || text[0] > '9' || len(text) > 16 {
		return 0, false
	}
	id, err := strconv.ParseInt(text, 10, 64)
	return id, err == nil && id <= max
}

// readQuery is the query string's fields, each given once.
func readQuery(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &refusal{400, "The query cannot be read.", nil}
	}
	for name, values := range query {
		if len(values) > 1 {
			return nil, invalid("Given twice", "query", name)
		}
		if !utf8.ValidString(values[0]) {
			return nil, &refusal{400, "The fields are not UTF-8.", nil}
		}
	}
	return query, nil
}

func decimal(query url.Values, name string, otherwise, min, max int64) (int64, error) {
	if !query.Has(name) {
		return otherwise, nil
	}
	text := query.Get(name)
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || !plain.MatchString(text) || number < min || number > max {
		return 0, invalid("Not a whole number within the bounds", "query", name)
	}
	return number, nil
}

func isText(text *string, max int) bool {
	return text != nil && *text != "" && characters(*text) <= max && strings.IndexByte(*text, 0) < 0
}

func unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &refusal{413, "The body is too large.", nil}
	}
	return &refusal{400, "The body cannot be read.", nil}
}

// readJSON reads a body of exactly the fields of `value`.
func readJSON(w http.ResponseWriter, r *http.Request, value any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	if err != nil {
		return unreadable(err)
	}
	if !json.Valid(data) || !utf8.Valid(data) {
		return &refusal{400, "The body is not JSON in UTF-8.", nil}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if decoder.Decode(value) != nil {
		return invalid("Fields that are unknown or of another type", "body")
	}
	return nil
}

// characters counts a text's code points.
func characters(text string) int { return utf8.RuneCountInString(text) }
