package main

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
)

// refusal is an answer that is no success.
type refusal struct {
	status int
	detail string
	loc    []string // of the field that a 422 is about
}

func (r *refusal) Error() string { return r.detail }

var (
	errUnauthenticated = &refusal{401, "A good bearer token is needed.", nil}
	errNoUser          = &refusal{404, "There is no such user.", nil}
	errNothing         = &refusal{404, "There is nothing here.", nil}
	errMethod          = &refusal{405, "Method not allowed.", nil}
)

func invalid(detail string, loc ...string) *refusal { return &refusal{422, detail, loc} }

var (
	jsonType     = []string{"application/json"}
	noStore      = []string{"no-store"}
	revalidate   = []string{"private, no-cache"}
	buffers      = sync.Pool{New: func() any { one := make([]byte, 0, 16384); return &one }}
	saneID       = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
	processID    = newProcessID()
	requestCount uint64
)

func newProcessID() string {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		log.Fatal(err)
	}
	return hex.EncodeToString(random[:]) + "-"
}

// requestID is the caller's own, if it is a sane one. The response has it before anything else.
func requestID(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Request-Id")
	if id == "" || !saneID.MatchString(id) {
		id = processID + strconv.FormatUint(atomic.AddUint64(&requestCount, 1), 16)
	}
	w.Header()["X-Request-Id"] = []string{id}
}

// send answers with JSON. The headers' names are written as net/http keeps them.
func send(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = jsonType
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	if header["Cache-Control"] == nil {
		header["Cache-Control"] = noStore
	}
	w.WriteHeader(status)
	w.Write(body) // the client may be gone: nothing to be done about it
}

func sendRefusal(w http.ResponseWriter, r *http.Request, err error) {
	var why *refusal
	if !errors.As(err, &why) {
		log.Print(err)
		why = &refusal{503, "Not now.", nil}
		w.Header().Set("Retry-After", "1")
	}
	problem := map[string]any{
		"type": "about:blank", "title": http.StatusText(why.status), "status": why.status,
		"detail": why.detail, "instance": r.URL.Path, "request_id": w.Header().Get("X-Request-Id"),
	}
	if why.loc != nil {
		problem["errors"] = []any{
			map[string]any{"loc": why.loc, "msg": why.detail, "type": "value_error"},
		}
	}
	if why.status == 401 {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	body, _ := json.Marshal(problem) // of texts and numbers
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(why.status)
	w.Write(body)
}
