// Databases that are part of a program: what they do to files, mappings and locks.
import type { Program, Step } from "../program.ts";

/** A database under a driver of ours, in a file or folder of the job. */
function database(name: string, job: string, modules: readonly string[]): Program {
  return {
    name,
    source: { kind: "driver", folder: name, modules },
    job,
    steps: [{ kind: "run", args: ["data"] }],
  };
}

/** More rows, by SQLite in C: a process beside litestream, with which it shares locks and the WAL's index. */
const WRITE = `import sqlite3
db = sqlite3.connect("db", isolation_level=None, timeout=60)
db.execute("PRAGMA journal_mode=WAL")
db.execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, name TEXT, data BLOB)")
first = db.execute("SELECT coalesce(max(id), 0) + 1 FROM t").fetchone()[0]
for batch in range(5):
    db.execute("BEGIN IMMEDIATE")
    for n in range(first + batch * 100, first + batch * 100 + 100):
        db.execute("INSERT INTO t VALUES (?, ?, ?)", (n, f"name {n * n}", bytes([n % 251]) * (n % 300)))
    db.execute("COMMIT")
db.execute("DELETE FROM t WHERE id % 7 = 3")
db.execute("CREATE INDEX IF NOT EXISTS names ON t (name)")
`;

const DUMP = `import hashlib, sqlite3
for name in "db", "restored":
    db = sqlite3.connect(name, timeout=60)
    rows = db.execute("SELECT * FROM t ORDER BY name").fetchall()
    check = db.execute("PRAGMA integrity_check").fetchone()[0]
    print("dump", name, len(rows), hashlib.sha256(repr(rows).encode()).hexdigest(), check)
`;

/** A command of litestream's, whose log has times in it. */
const litestream = (...args: string[]): Step => ({ kind: "run", args, lines: /^(dump|Error)/ });
const REPLICA = ["db", "file://{DIR}/replica"];

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
  {
    name: "litestream",
    source: { kind: "go", package: "github.com/benbjohnson/litestream/cmd/litestream", version: "v0.5.18" },
    job: "replicates a database while a child writes to it, restores it, compares",
    tools: ["python3"],
    files: { "write.py": WRITE, "dump.py": DUMP },
    prepare: [["python3", "write.py"]],
    steps: [
      litestream("replicate", "-once", ...REPLICA),
      litestream("replicate", "-exec", "python3 write.py", ...REPLICA),
      litestream("replicate", "-once", ...REPLICA),
      litestream("restore", "-integrity-check", "full", "-o", "restored", "file://{DIR}/replica"),
      litestream("replicate", "-exec", "python3 dump.py", ...REPLICA),
      litestream("restore", "-o", "restored", "file://{DIR}/replica"),
      litestream("restore", "-o", "none", "file://{DIR}/nothing"),
    ],
  },
];
