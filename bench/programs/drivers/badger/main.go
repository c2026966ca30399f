// A job for badger: concurrent writers, deletions, iteration, garbage collection, and the folder opened again.
package main

import (
	"fmt"
	"hash/crc32"
	"log"
	"os"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

const (
	writers = 8
	each    = 2500
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func open(path string) *badger.DB {
	db, err := badger.Open(badger.DefaultOptions(path).WithLogger(nil))
	must(err)
	return db
}

func sum(db *badger.DB) (count int, crc uint32) {
	must(db.View(func(tx *badger.Txn) error {
		it := tx.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			count++
			crc = crc32.Update(crc, crc32.IEEETable, it.Item().Key())
			must(it.Item().Value(func(v []byte) error {
				crc = crc32.Update(crc, crc32.IEEETable, v)
				return nil
			}))
		}
		return nil
	}))
	return
}

func main() {
	db := open(os.Args[1])
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			batch := db.NewWriteBatch()
			for i := range each {
				must(batch.Set(fmt.Appendf(nil, "key-%d-%06d", w, i), fmt.Appendf(nil, "%0200d", i*w)))
			}
			must(batch.Flush())
		})
	}
	wg.Wait()
	fmt.Println(sum(db))
	must(db.Update(func(tx *badger.Txn) error {
		for i := range each {
			must(tx.Delete(fmt.Appendf(nil, "key-3-%06d", i)))
		}
		return nil
	}))
	fmt.Println(sum(db))
	fmt.Println(db.RunValueLogGC(0.5))
	must(db.Flatten(2))
	must(db.Close())
	db = open(os.Args[1])
	fmt.Println(sum(db))
	must(db.VerifyChecksum())
	must(db.Close())
}
