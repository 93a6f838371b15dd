package main

import (
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	keyCharactersMax = 128
	lastCodePoint    = 0x10FFFF
)

var fold = cases.Fold()

// searchKey is what names are compared by: NFKC and case folded, as the service stores it.
func searchKey(text string) string {
	key := norm.NFKC.String(fold.String(norm.NFKC.String(text)))
	if runes := []rune(key); len(runes) > keyCharactersMax {
		return string(runes[:keyCharactersMax])
	}
	return key
}

// prefixEnd is the smallest key above every key that starts so, or one above all.
func prefixEnd(prefix string) string {
	runes := []rune(prefix)
	for n := len(runes) - 1; n >= 0; n-- {
		code := runes[n] + 1
		if 0xD800 <= code && code <= 0xDFFF {
			code = 0xE000
		}
		if code <= lastCodePoint {
			return string(append(runes[:n], code))
		}
	}
	return strings.Repeat(string(rune(lastCodePoint)), keyCharactersMax+1)
}
