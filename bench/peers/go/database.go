package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

const (
	queries  = "sql/postgres/queries"
	searches = "bench/peers/search.sql"
)

// Prepared on every connection.
var used = []string{
	"user_by_ids", "user_credentials", "user_account_status",
	"user_search_first", "user_search_last",
	"user_search_first_then_last", "user_search_last_then_first",
	"post_feed", "dialog_page_before", "dialog_page_after", "dialog_send",
}

// database is the pool. Nothing is asked with a request's context: pgx watches a context that can
// be cancelled with a goroutine for each statement, and statements as short as these need none.
type database struct{ pool *pgxpool.Pool }

// openDatabase connects as often as `size` says.
func openDatabase(url string, size int32) (*database, error) {
	statements, err := loadStatements()
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = size, size
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	config.ConnConfig.RuntimeParams["jit"] = "off"
	config.AfterConnect = func(ctx context.Context, connection *pgx.Conn) error {
		for _, name := range used {
			if _, err := connection.Prepare(ctx, name, statements[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}
	pool, err := pgxpool.ConnectConfig(context.Background(), config)
	if err != nil {
		return nil, err
	}
	return &database{pool}, nil
}

// each calls `row` with the raw columns of every row of a statement. They are the connection's
// buffer: of no use after the call.
func (d *database) each(row func(columns [][]byte), statement string, arguments ...interface{}) error {
	rows, err := d.pool.Query(context.Background(), statement, arguments...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row(rows.RawValues())
	}
	return rows.Err()
}

// loadStatements reads the service's statements and the peers' own: name -> SQL.
func loadStatements() (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(queries, "*.sql"))
	if err != nil {
		return nil, err
	}
	paths = append(paths, searches)
	statements := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for _, part := range strings.Split("\n"+string(text), "\n-- name: ")[1:] {
			name, sql, _ := strings.Cut(part, "\n")
			statements[name] = strings.TrimRight(sql, "; \n")
		}
	}
	for _, name := range used {
		if statements[name] == "" {
			return nil, fmt.Errorf("%s has no statement %s", queries, name)
		}
	}
	return statements, nil
}
