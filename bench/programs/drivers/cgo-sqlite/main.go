// A job for mattn/go-sqlite3, which is SQLite in C through cgo: 20,000 rows, functions in Go that C calls, full-text search,
// eight readers at once, a file that is opened again and checked.
package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"

	"github.com/mattn/go-sqlite3"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func init() {
	sql.Register("sqlite3-go", &sqlite3.SQLiteDriver{ConnectHook: func(conn *sqlite3.SQLiteConn) error {
		if err := conn.RegisterFunc("shout", func(text string) string { return strings.ToUpper(text) + "!" }, true); err != nil {
			return err
		}
		return conn.RegisterAggregator("joined", func() *joined { return &joined{} }, true)
	}})
}

type joined struct{ words []string }

func (j *joined) Step(word string) { j.words = append(j.words, word) }
func (j *joined) Done() string     { return strings.Join(j.words, "+") }

func show(db *sql.DB, query string, args ...any) string {
	rows, err := db.Query(query, args...)
	must(err)
	defer rows.Close()
	columns, err := rows.Columns()
	must(err)
	var told strings.Builder
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		must(rows.Scan(values...))
		for _, v := range values {
			fmt.Fprint(&told, *v.(*any), "|")
		}
		told.WriteString("\n")
	}
	must(rows.Err())
	return told.String()
}

func main() {
	log.SetFlags(0)
	db, err := sql.Open("sqlite3-go", os.Args[1]+"?_journal=WAL")
	must(err)
	exec := func(query string, args ...any) {
		_, err := db.Exec(query, args...)
		must(err)
	}
	exec("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born INTEGER, share REAL)")
	exec("CREATE VIRTUAL TABLE notes USING fts4(body)")
	tx, err := db.Begin()
	must(err)
	insert, err := tx.Prepare("INSERT INTO people VALUES (?, ?, ?, ?)")
	must(err)
	for i := range 20_000 {
		_, err := insert.Exec(i, fmt.Sprintf("person %d", i), 1900+i%120, float64(i)/7)
		must(err)
		if i%100 == 0 {
			_, err := tx.Exec("INSERT INTO notes VALUES (?)", fmt.Sprintf("note about person %d and number %d", i, i*i))
			must(err)
		}
	}
	must(tx.Commit())
	exec("CREATE INDEX by_born ON people (born)")
	fmt.Print(show(db, "SELECT born / 10 * 10, count(*), round(sum(share), 3) FROM people GROUP BY 1 ORDER BY 1"))
	fmt.Print(show(db, "SELECT shout(name), joined(name) FROM (SELECT name FROM people WHERE born = 1950 ORDER BY id LIMIT 5)"))
	fmt.Print(show(db, "SELECT docid, body FROM notes WHERE notes MATCH 'number 40000'"))
	var all sync.WaitGroup
	told := make([]string, 8)
	for i := range told {
		all.Add(1)
		go func() {
			defer all.Done()
			told[i] = show(db, "SELECT ?, count(*), max(shout(name)) FROM people WHERE id % 8 = ?", i, i)
		}()
	}
	all.Wait()
	fmt.Print(strings.Join(told, ""))
	_, err = db.Exec("INSERT INTO people VALUES (0, 'twice', 0, 0)")
	fmt.Println(err)
	exec("DELETE FROM people WHERE id % 2")
	exec("VACUUM")
	must(db.Close())
	db, err = sql.Open("sqlite3-go", os.Args[1])
	must(err)
	fmt.Print(show(db, "PRAGMA integrity_check"), show(db, "SELECT count(*), total(share) FROM people"))
	must(db.Close())
}
