package main

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt"
	"golang.org/x/crypto/argon2"
)

const rememberedMax = 65536

type claims struct {
	Subject string `json:"sub"`
	Version *int64 `json:"ver"`
	Kind    string `json:"typ"`
	Issued  int64  `json:"iat"`
	Expires int64  `json:"exp"`
}

// Valid is what the signature alone does not say.
func (c *claims) Valid() error {
	if c.Expires <= time.Now().Unix() || c.Version == nil {
		return errUnauthenticated
	}
	return nil
}

type caller struct{ id, version, expires int64 }

type standing struct {
	version  int64
	disabled bool
	until    time.Time
}

// authenticator remembers verified tokens until they expire, and users' standings for checkEvery.
type authenticator struct {
	database   *database
	secret     []byte
	checkEvery time.Duration
	parser     *jwt.Parser
	mutex      sync.Mutex
	callers    map[string]caller
	standings  map[int64]standing
}

func newAuthenticator(database *database, secret string) *authenticator {
	return &authenticator{
		database:  database,
		secret:    []byte(secret),
		parser:    &jwt.Parser{ValidMethods: []string{"HS256"}},
		callers:   map[string]caller{},
		standings: map[int64]standing{},
	}
}

// userID is who calls, from an Authorization header.
func (a *authenticator) userID(authorization string) (int64, error) {
	now := time.Now()
	a.mutex.Lock()
	one, known := a.callers[authorization]
	held, checked := a.standings[one.id]
	a.mutex.Unlock()
	if !known || one.expires <= now.Unix() {
		var err error
		if one, err = a.verify(authorization); err != nil {
			return 0, err
		}
		a.mutex.Lock()
		makeRoom(a.callers)
		a.callers[authorization] = one
		held, checked = a.standings[one.id]
		a.mutex.Unlock()
	}
	if !checked || held.version != one.version || held.until.Before(now) {
		found := false
		err := a.database.each(func(row [][]byte) {
			found = true
			held = standing{number(row[1]), row[2][0] != 0, now.Add(a.checkEvery)}
		}, "user_account_status", []int32{int32(one.id)})
		if err != nil {
			return 0, err
		}
		if !found {
			return 0, errUnauthenticated
		}
		a.mutex.Lock()
		makeRoom(a.standings)
		a.standings[one.id] = held
		a.mutex.Unlock()
	}
	if held.disabled || held.version != one.version {
		return 0, errUnauthenticated
	}
	return one.id, nil
}

// makeRoom keeps a map bounded: any entry gives way.
func makeRoom[K comparable, V any](known map[K]V) {
	for key := range known {
		if len(known) < rememberedMax {
			return
		}
		delete(known, key)
	}
}

func (a *authenticator) verify(authorization string) (caller, error) {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "bearer") {
		return caller{}, errUnauthenticated
	}
	var found claims
	_, err := a.parser.ParseWithClaims(token, &found, func(*jwt.Token) (interface{}, error) {
		return a.secret, nil
	})
	if err != nil || found.Kind != "access" {
		return caller{}, errUnauthenticated
	}
	id, ok := parseID(found.Subject, userIDMax)
	if !ok {
		return caller{}, errUnauthenticated
	}
	return caller{id, *found.Version, found.Expires}, nil
}

// sign makes a token of kind `access` or `refresh`; its life is in seconds.
func (a *authenticator) sign(kind string, id, version, life int64) (string, error) {
	now := time.Now().Unix()
	content := &claims{strconv.FormatInt(id, 10), &version, kind, now, now + life}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, content).SignedString(a.secret)
}

// fits says whether a password is that of a hash: $argon2id$v=19$m=19456,t=2,p=1$salt$key.
func fits(stored, password string) bool {
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != "v=19" {
		return false
	}
	var memory, passes uint32
	var lanes uint8
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); err != nil {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil {
		return false
	}
	key, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil {
		return false
	}
	found := argon2.IDKey([]byte(password), salt, passes, memory, lanes, uint32(len(key)))
	return subtle.ConstantTimeCompare(found, key) == 1
}
