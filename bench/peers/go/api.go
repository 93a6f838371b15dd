package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

const (
	idMax        = 1<<53 - 1
	userIDMax    = 1<<31 - 1
	bodyBytesMax = 65536
)

type api struct {
	database     *database
	auth         *authenticator
	accessLife   int64 // seconds
	refreshLife  int64
	feedPostsMax int
}

// ServeHTTP routes; there are too few paths for anything else.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	requestID(w, r)
	if err := a.route(w, r); err != nil {
		sendRefusal(w, r, err)
	}
}

func (a *api) route(w http.ResponseWriter, r *http.Request) error {
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/")
	if len(path) == len(r.URL.Path) {
		return errNothing
	}
	switch {
	case path == "feed":
		return only("GET", a.feed)(w, r)
	case path == "users/search":
		return only("GET", a.search)(w, r)
	case path == "login":
		return only("POST", a.login)(w, r)
	case strings.HasPrefix(path, "users/"):
		if r.Method != "GET" {
			return only("GET", nil)(w, r)
		}
		return a.user(w, r, path[len("users/"):])
	case strings.HasPrefix(path, "dialogs/") && strings.HasSuffix(path, "/messages"):
		id := path[len("dialogs/"):]
		id = strings.TrimSuffix(id, "/messages")
		switch r.Method {
		case "GET":
			return a.messages(w, r, id)
		case "POST":
			return a.sendMessage(w, r, id)
		}
		w.Header().Set("Allow", "GET, POST")
		return errMethod
	}
	return errNothing
}

type handler func(w http.ResponseWriter, r *http.Request) error

func only(method string, handle handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != method {
			w.Header().Set("Allow", method)
			return errMethod
		}
		return handle(w, r)
	}
}

func (a *api) user(w http.ResponseWriter, r *http.Request, path string) error {
	id, ok := parseID(path, userIDMax)
	if !ok {
		return errNothing
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	body, version := (*buffer)[:0], int64(0)
	err := a.database.each(func(row [][]byte) {
		body, version = appendObject(body, userColumns, row), number(row[8])
	}, "user_by_ids", []int32{int32(id)})
	*buffer = body
	if err != nil {
		return err
	}
	if len(body) == 0 {
		return errNoUser
	}
	etag := `"` + path + "-" + strconv.FormatInt(version, 10) + `"`
	header := w.Header()
	header["Etag"] = []string{etag}
	header["Cache-Control"] = revalidate
	if wanted := r.Header["If-None-Match"]; wanted != nil && matches(wanted, etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	send(w, 200, body)
	return nil
}

// matches compares weakly, as RFC 9110 wants.
func matches(ifNoneMatch []string, etag string) bool {
	for _, candidate := range strings.Split(strings.Join(ifNoneMatch, ","), ",") {
		candidate = strings.TrimPrefix(strings.TrimSpace(candidate), "W/")
		if candidate == "*" || candidate == etag {
			return true
		}
	}
	return false
}

func (a *api) search(w http.ResponseWriter, r *http.Request) error {
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	after, err := decimal(query, "after", 0, 0, idMax)
	if err != nil {
		return err
	}
	limit, err := decimal(query, "limit", 20, 1, 100)
	if err != nil {
		return err
	}
	first, last := query.Get("first_name"), query.Get("last_name")
	if strings.ContainsRune(first+last, 0) || characters(first) > 64 || characters(last) > 64 {
		return invalid("A name has 64 characters at most and no NUL.", "query")
	}
	first, last = searchKey(first), searchKey(last)
	statement, lead, other := "", first, last
	switch {
	case first == "" && last == "":
		return invalid("One of the names must not be empty.", "query")
	case last == "":
		statement = "user_search_first"
	case first == "":
		statement, lead, other = "user_search_last", last, ""
	case characters(first) > characters(last):
		statement = "user_search_first_then_last"
	default:
		statement, lead, other = "user_search_last_then_first", last, first
	}
	arguments := []any{lead, prefixEnd(lead), after, limit}
	if other != "" {
		arguments = append(arguments, other, prefixEnd(other))
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	page := newPage(*buffer)
	err = a.database.each(func(row [][]byte) {
		page.body = appendObject(page.next(row), userColumns, row)
	}, statement, arguments...)
	*buffer = page.body
	if err != nil {
		return err
	}
	send(w, 200, page.end(limit))
	return nil
}

func (a *api) feed(w http.ResponseWriter, r *http.Request) error {
	me, err := a.me(r)
	if err != nil {
		return err
	}
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	limit, err := decimal(query, "limit", 20, 1, 100)
	if err != nil {
		return err
	}
	before, seen := int64(idMax), 0
	if cursor := query.Get("before"); cursor != "" || query.Has("before") {
		if !feedCursor.MatchString(cursor) {
			return invalid("This is no cursor of a feed.", "query", "before")
		}
		id, soFar, _ := strings.Cut(cursor, "-")
		before, _ = strconv.ParseInt(id, 10, 64)
		seen, _ = strconv.Atoi(soFar)
	}
	wanted := limit
	if left := int64(a.feedPostsMax - seen); left < wanted {
		wanted = left
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	page := newPage(*buffer)
	if wanted > 0 {
		err = a.database.each(func(row [][]byte) {
			page.body = appendObject(page.next(row), postColumns, row)
		}, "post_feed", int32(me), before, wanted)
		*buffer = page.body
		if err != nil {
			return err
		}
	}
	seen += int(page.count)
	body := append(page.body, `],"next":`...)
	if page.count == limit && seen < a.feedPostsMax {
		body = strconv.AppendInt(append(body, '"'), page.last, 10)
		body = append(strconv.AppendInt(append(body, '-'), int64(seen), 10), `"}`...)
	} else {
		body = append(body, "null}"...)
	}
	send(w, 200, body)
	return nil
}

func (a *api) messages(w http.ResponseWriter, r *http.Request, path string) error {
	me, other, err := a.pair(r, path)
	if err != nil {
		return err
	}
	query, err := readQuery(r)
	if err != nil {
		return err
	}
	limit, err := decimal(query, "limit", 20, 1, 100)
	if err != nil {
		return err
	}
	statement, parameter, from, least := "dialog_page_before", "before", int64(idMax), int64(1)
	if query.Has("after") {
		if query.Has("before") {
			return invalid("before and after exclude each other", "query")
		}
		statement, parameter, from, least = "dialog_page_after", "after", 0, 0
	}
	if from, err = decimal(query, parameter, from, least, idMax); err != nil {
		return err
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	page := newPage(*buffer)
	err = a.database.each(func(row [][]byte) {
		page.body = appendMessage(page.next(row), row, me, other)
	}, statement, dialogID(me, other), from, limit)
	*buffer = page.body
	if err != nil {
		return err
	}
	if page.count == 0 {
		if err = a.mustExist(other); err != nil {
			return err
		}
	}
	send(w, 200, page.end(limit))
	return nil
}

type messageNew struct {
	Content  *string `json:"content"`
	ClientID *string `json:"client_id"`
}

func (a *api) sendMessage(w http.ResponseWriter, r *http.Request, path string) error {
	me, other, err := a.pair(r, path)
	if err != nil {
		return err
	}
	var message messageNew
	if err = readJSON(w, r, &message); err != nil {
		return err
	}
	if !isText(message.Content, 4096) {
		return invalid("1 to 4096 characters, no NUL", "body", "content")
	}
	if message.ClientID != nil && !isText(message.ClientID, 64) {
		return invalid("1 to 64 characters, no NUL", "body", "client_id")
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	body, outcome := (*buffer)[:0], ""
	say := func(create bool) error {
		return a.database.each(func(row [][]byte) {
			if outcome = string(row[0]); outcome != "absent" {
				body = appendMessage(body, row[1:], me, other)
			}
		}, "dialog_send", dialogID(me, other), int32(me), int32(other), *message.Content, message.ClientID, create)
	}
	err = say(false)
	if err == nil && outcome == "absent" {
		if err = a.mustExist(other); err == nil {
			err = say(true)
		}
	}
	*buffer = body
	if err != nil {
		return err
	}
	status := http.StatusOK
	if outcome == "sent" {
		status = http.StatusCreated
	}
	send(w, status, body)
	return nil
}

func (a *api) login(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, bodyBytesMax)
	if err := r.ParseForm(); err != nil {
		return unreadable(err)
	}
	wrong := &refusal{401, "The name or the password is wrong.", nil}
	var id, version int64
	var stored string
	err := a.database.each(func(row [][]byte) {
		if row[3][0] == 0 {
			id, stored, version = number(row[0]), string(row[1]), number(row[2])
		}
	}, "user_credentials", strings.ToLower(r.PostForm.Get("username")))
	if err != nil {
		return err
	}
	if !fits(stored, r.PostForm.Get("password")) {
		return wrong
	}
	access, err := a.auth.sign("access", id, version, a.accessLife)
	if err != nil {
		return err
	}
	refresh, err := a.auth.sign("refresh", id, version, a.refreshLife)
	if err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Type    string `json:"token_type"`
		Life    int64  `json:"expires_in"`
	}{access, refresh, "bearer", a.accessLife})
	if err != nil {
		return err
	}
	send(w, 200, body)
	return nil
}

func (a *api) me(r *http.Request) (int64, error) {
	authorization := r.Header["Authorization"]
	if authorization == nil {
		return 0, errUnauthenticated
	}
	return a.auth.userID(authorization[0])
}

// pair is who calls, and whose dialog with them the path is about.
func (a *api) pair(r *http.Request, path string) (me, other int64, err error) {
	if me, err = a.me(r); err != nil {
		return 0, 0, err
	}
	other, ok := parseID(path, userIDMax)
	if !ok {
		return 0, 0, errNothing
	}
	if me == other {
		return 0, 0, invalid("Nobody has a dialog with themselves.", "path", "user_id")
	}
	return me, other, nil
}

// dialogID is the pair with its bits mixed, as hlfast/dialogs/dialog_ids.py has it.
func dialogID(one, other int64) int64 {
	const all = 1<<62 - 1
	if one > other {
		one, other = other, one
	}
	id := uint64(one<<31 | other)
	id = (id ^ id>>31) * 0x3f58476d1ce4e5b9 & all
	id = (id ^ id>>31) * 0x14d049bb133111eb & all
	return int64(id ^ id>>31)
}

func (a *api) mustExist(id int64) error {
	found := false
	err := a.database.each(func([][]byte) { found = true }, "user_by_ids", []int32{int32(id)})
	if err == nil && !found {
		return errNoUser
	}
	return err
}

// page is a list while it is written.
type page struct {
	body        []byte
	count, last int64
}

func newPage(buffer []byte) *page { return &page{body: append(buffer[:0], `{"items":[`...)} }

// next is the body as the next row's object follows.
func (p *page) next(row [][]byte) []byte {
	p.last = number(row[0])
	p.count++
	if p.count > 1 {
		return append(p.body, ',')
	}
	return p.body
}

// end is the whole body: the last id leads on if the page was filled.
func (p *page) end(limit int64) []byte {
	body := append(p.body, `],"next":`...)
	if p.count < limit {
		return append(body, "null}"...)
	}
	return append(strconv.AppendInt(body, p.last, 10), '}')
}
