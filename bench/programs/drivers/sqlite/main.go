// A job for modernc.org/sqlite, which is SQLite's C as Go: tables, joins, an index, full-text search, a checked file.
package main

import (
	"database/sql"
	"fmt"
	"log"
	"os"

	_ "modernc.org/sqlite"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	db, err := sql.Open("sqlite", os.Args[1])
	must(err)
	defer db.Close()
	exec := func(query string, args ...any) {
		_, err := db.Exec(query, args...)
		must(err)
	}
	show := func(query string, args ...any) {
		rows, err := db.Query(query, args...)
		must(err)
		defer rows.Close()
		columns, err := rows.Columns()
		must(err)
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			must(rows.Scan(values...))
			for _, v := range values {
				fmt.Print(*v.(*any), "|")
			}
			fmt.Println()
		}
		must(rows.Err())
	}
	show("SELECT sqlite_version()")
	exec("PRAGMA journal_mode = WAL")
	exec("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, born INTEGER, share REAL)")
	exec("CREATE TABLE visits (person INTEGER REFERENCES people, day TEXT, minutes INTEGER)")
	exec("CREATE VIRTUAL TABLE notes USING fts5(body)")
	tx, err := db.Begin()
	must(err)
	for i := range 2000 {
		_, err := tx.Exec("INSERT INTO people VALUES (?, ?, ?, ?)", i, fmt.Sprintf("person %d", i), 1900+i%120, float64(i)/7)
		must(err)
		for j := range 3 {
			_, err := tx.Exec("INSERT INTO visits VALUES (?, date('2024-01-01', ? || ' days'), ?)", i, (i*j)%366, (i*31+j)%240)
			must(err)
		}
		if i%10 == 0 {
			_, err := tx.Exec("INSERT INTO notes VALUES (?)", fmt.Sprintf("note about person %d and number %d", i, i*i))
			must(err)
		}
	}
	must(tx.Commit())
	exec("CREATE INDEX by_day ON visits (day, person)")
	show("SELECT born / 10 * 10, count(*), round(sum(share), 3) FROM people GROUP BY 1 ORDER BY 1")
	show("SELECT name, sum(minutes) AS m FROM people JOIN visits ON person = id WHERE day LIKE '2024-02-%' GROUP BY id ORDER BY m DESC, id LIMIT 5")
	show("SELECT rowid, body FROM notes WHERE notes MATCH 'number AND 400' ORDER BY rank")
	show("WITH RECURSIVE f(n, a, b) AS (VALUES (1, 0, 1) UNION ALL SELECT n + 1, b, a + b FROM f WHERE n < 80) SELECT max(b) FROM f")
	exec("DELETE FROM people WHERE id % 2")
	exec("VACUUM")
	show("PRAGMA integrity_check")
	show("SELECT count(*), total(share) FROM people")
	_, err = db.Exec("INSERT INTO people VALUES (0, 'twice', 0, 0)")
	fmt.Println(err)
}
