// Databases that are part of a program: what they do to files, mappings and locks.
import type { Program } from "../program.ts";

/** A database under a driver of ours, in a file or folder of the job. */
function database(name: string, job: string, modules: readonly string[]): Program {
  return {
    name,
    source: { kind: "driver", folder: name, modules },
    job,
    steps: [{ kind: "run", args: ["data"] }],
  };
}

export const DATABASES: readonly Program[] = [
  database("bbolt", "20,000 records, rollback, deletion by cursor, opened again and checked", [
    "go.etcd.io/bbolt@v1.5.0",
  ]),
  database("badger", "20,000 records by 8 writers, deletion, flattening, opened again and verified", [
    "github.com/dgraph-io/badger/v4@v4.9.6",
  ]),
  database("pebble", "30,000 records, snapshot, range deletion, compaction, opened again", [
    "github.com/cockroachdb/pebble/v2@v2.1.7",
  ]),
  database("sqlite", "SQLite as Go: joins, full-text search, vacuum, integrity check", ["modernc.org/sqlite@v1.62.0"]),
];
