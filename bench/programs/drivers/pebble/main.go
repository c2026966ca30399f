// A job for pebble: batches, a snapshot, range deletion, compaction, and the folder opened again.
package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"log"
	"os"

	"github.com/cockroachdb/pebble/v2"
)

const records = 30000

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	log.Fatalf(format, args...)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func open(path string) *pebble.DB {
	db, err := pebble.Open(path, &pebble.Options{Logger: quiet{}})
	must(err)
	return db
}

func sum(r pebble.Reader) (count int, crc uint32) {
	it, err := r.NewIter(nil)
	must(err)
	for it.First(); it.Valid(); it.Next() {
		count++
		crc = crc32.Update(crc32.Update(crc, crc32.IEEETable, it.Key()), crc32.IEEETable, it.Value())
	}
	must(it.Close())
	return
}

func key(i int) []byte { return fmt.Appendf(nil, "key-%06d", i*7919%records) }

func main() {
	db := open(os.Args[1])
	for start := 0; start < records; start += 1000 {
		batch := db.NewBatch()
		for i := start; i < start+1000; i++ {
			must(batch.Set(key(i), fmt.Appendf(nil, "%0100d", i), nil))
		}
		must(batch.Commit(pebble.Sync))
	}
	fmt.Println(sum(db))
	before := db.NewSnapshot()
	must(db.DeleteRange([]byte("key-010000"), []byte("key-020000"), pebble.Sync))
	fmt.Println(sum(db))
	fmt.Println(sum(before))
	must(before.Close())
	must(db.Flush())
	must(db.Compact(context.Background(), []byte("key-"), []byte("key."), true))
	fmt.Println(sum(db))
	must(db.Close())
	db = open(os.Args[1])
	value, closer, err := db.Get(key(20000))
	fmt.Println(string(value), err)
	if err == nil {
		must(closer.Close())
	}
	fmt.Println(sum(db))
	must(db.Close())
}
