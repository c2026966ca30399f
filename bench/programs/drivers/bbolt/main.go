// A job for bbolt: buckets, transactions, a rollback, cursors, and the file opened again.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log"
	"os"

	bolt "go.etcd.io/bbolt"
)

const records = 20000

func key(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i*7919%records)) }

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func sum(db *bolt.DB, bucket string) (count int, crc uint32) {
	must(db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(bucket)).ForEach(func(k, v []byte) error {
			count++
			crc = crc32.Update(crc32.Update(crc, crc32.IEEETable, k), crc32.IEEETable, v)
			return nil
		})
	}))
	return
}

func main() {
	path := os.Args[1]
	db, err := bolt.Open(path, 0o600, nil)
	must(err)
	for start := 0; start < records; start += 1000 {
		must(db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("numbers"))
			if err != nil {
				return err
			}
			for i := start; i < start+1000; i++ {
				if err := b.Put(key(i), fmt.Appendf(nil, "the value of %d, %032d", i, i*i)); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	fmt.Println(sum(db, "numbers"))
	undo := errors.New("undo")
	err = db.Update(func(tx *bolt.Tx) error {
		must(tx.DeleteBucket([]byte("numbers")))
		return undo
	})
	fmt.Println(errors.Is(err, undo))
	must(db.Update(func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte("numbers")).Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			if binary.BigEndian.Uint32(k)%3 == 0 {
				must(c.Delete())
			}
		}
		return nil
	}))
	fmt.Println(sum(db, "numbers"))
	must(db.Close())
	db, err = bolt.Open(path, 0o600, nil)
	must(err)
	fmt.Println(sum(db, "numbers"))
	must(db.View(func(tx *bolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		k, v := tx.Bucket([]byte("numbers")).Cursor().Seek(key(17))
		fmt.Printf("%x %s\n", k, v)
		return nil
	}))
	must(db.Close())
}
