// The API as a good Go engineer would write it: net/http and pgx, on the same database and with the
// same statements, read from sql/postgres/queries, answering the same bytes.
//
// Only what bench/compare.py asks for is here. Run from the root of the repository; read from the
// environment: DATABASE_URL, HLFAST_SECRET, HLFAST_HTTP_PORT and, where set,
// HLFAST_DATABASE_POOL_SIZE, HLFAST_REVOCATION_CHECK_S, HLFAST_ACCESS_TOKEN_S,
// HLFAST_REFRESH_TOKEN_S, HLFAST_FEED_POSTS_MAX.
package main

import (
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

func main() {
	database, err := openDatabase(
		os.Getenv("DATABASE_URL"), int32(setting("HLFAST_DATABASE_POOL_SIZE", 8)),
	)
	if err != nil {
		log.Fatal(err)
	}
	auth := newAuthenticator(database, os.Getenv("HLFAST_SECRET"))
	auth.checkEvery = time.Duration(setting("HLFAST_REVOCATION_CHECK_S", 20) * float64(time.Second))
	api := &api{
		database:     database,
		auth:         auth,
		accessLife:   int64(setting("HLFAST_ACCESS_TOKEN_S", 900)),
		refreshLife:  int64(setting("HLFAST_REFRESH_TOKEN_S", 30*86400)),
		feedPostsMax: int(setting("HLFAST_FEED_POSTS_MAX", 1000)),
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("HLFAST_HTTP_PORT"), api))
}

// setting is a number from the environment, or what the service has by default.
func setting(name string, otherwise float64) float64 {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		log.Fatalf("%s is no number: %s", name, text)
	}
	return number
}
