// Dynamically linked programs: Go's of a distribution, builds with cgo, and what is no Go at all but what Go programs start.
import { ask, askUntil, load } from "../clients.ts";
import type { Program, RunStep, Source, Talk } from "../program.ts";
import { SERVERS } from "./servers.ts";
import { TERMINALS } from "./terminals.ts";
import { TOOLS } from "./tools.ts";

const debian = (name: string, version: string, file: string): Source => ({
  kind: "debian",
  package: name,
  version,
  file,
});
const run = (...args: string[]): RunStep => ({ kind: "run", args });

/** A job of the table with the program as a distribution builds it. */
function again(table: readonly Program[], name: string, source: Source, with_: Partial<Program> = {}): Program {
  const program = table.find((each) => each.name === name)!;
  return { ...program, name: `debian-${name}`, source, job: `${program.job} (dynamic)`, ...with_ };
}

const base64 = (text: string): string => btoa(text);

/** Keys, a range of them, a transaction, a lease, over etcd's JSON gateway. */
async function talkToEtcd({ port, signal }: Talk): Promise<string> {
  const origin = `http://127.0.0.1:${port}`;
  await askUntil(signal, `${origin}/health`, ({ body }) => body.includes('"true"'));
  const call = async (path: string, message: object): Promise<Record<string, unknown>> => {
    const { status, body } = await ask(`${origin}/v3/${path}`, { method: "POST", body: JSON.stringify(message) });
    if (status !== 200) return { status };
    const { header: _, ...rest } = JSON.parse(body);
    return rest;
  };
  const puts = Array.from({ length: 100 }, (_, n) =>
    call("kv/put", { key: base64(`key-${String(n).padStart(3, "0")}`), value: base64(`value ${n * n}`) }),
  );
  const said: unknown[] = [(await Promise.all(puts)).length];
  const range = { key: base64("key-"), range_end: base64("key."), keys_only: true, limit: "10" };
  const { kvs, ...counts } = await call("kv/range", range);
  said.push(
    (kvs as { key: string }[]).map(({ key }) => atob(key)),
    counts,
  );
  const compare = [{ key: base64("key-001"), target: "VALUE", value: base64("value 1") }];
  const put = (value: string): object[] => [{ requestPut: { key: base64("key-001"), value: base64(value) } }];
  said.push(await call("kv/txn", { compare, success: put("changed"), failure: put("not") }));
  said.push(await call("kv/txn", { compare, success: put("again"), failure: put("otherwise") }));
  said.push(await call("kv/deleterange", { key: base64("key-05"), range_end: base64("key-06") }));
  said.push(await call("lease/grant", { ID: "77", TTL: "60" }), await call("kv/put", { key: "" }));
  said.push(
    await load(
      Array.from({ length: 50 }, () => `${origin}/health`),
      10,
    ),
  );
  return said.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join("\n");
}

const fzf = TERMINALS.find(({ name }) => name === "fzf")!;

const SHELL = `set -u
trap 'echo leaving with $?' EXIT
count() { wc -l | tr -d ' '; }
seq 1 2000 | sort -r | sort -n | sed -n '5,8p;$p'
seq 1 500 | awk '{ s += $1 * $1 } END { print s }'
x=$(printf '%s\\n' one two three | while read -r word; do echo "$word-$( (echo "$word" | rev) )"; done)
echo "$x"
(cd /; pwd; exit 3); echo "subshell $?"
false | true; echo "pipe $? of \${PIPESTATUS[*]}"
sleep 0.2 & one=$!
(exit 7) & two=$!
wait $two; echo "second $?"
wait $one; echo "first $?"
(trap 'echo told; exit 0' USR1; while :; do sleep 0.05; done) & third=$!
sleep 0.3; kill -USR1 $third; wait $third; echo "third $?"
sh -c 'kill -TERM $$'; echo "killed $?"
diff <(seq 1 5) <(seq 2 6)
mkdir -p tree/{a,b}/{c,d}; for i in 1 2 3; do echo "$i" > tree/a/c/$i; done
cp -r tree copy; mv copy/a copy/z; find copy -type f | sort; du -a copy | count
ls -l tree/a/c | awk 'NR > 1 { print $1, $5, $9 }'
tar cf - tree | gzip -9n | gzip -d | tar tf - | sort | tail -n 3
sha256sum tree/a/c/* | cut -c 1-16; factor 1234567890123; printf 'a,b\\n1,2\\n' | cut -d, -f2 | paste -s
cat <<END | tr a-z A-Z | head -n 1
here document
END
coproc cat; echo through >&\${COPROC[1]}; read -r line <&\${COPROC[0]}; echo "$line"
exec 5> five; echo to five >&5; exec 5>&-; cat five
f() { local n=$1; [ "$n" -le 1 ] && { echo 1; return; }; echo $((n * $(f $((n - 1))))); }
f 10
exit 4
`;

const BUSYBOX = `seq 1 300 | sort -rn | head -n 3 | sed 's/^/n /'
echo 'b a c' | tr ' ' '\\n' | sort | uniq -c | awk '{ print $2 }' | xargs echo
mkdir d; for i in 1 2 3; do echo "file $i" > d/f$i; done
tar cf - d | gzip | zcat | tar tf - | sort; grep -r 'file [12]' d | sort
(sleep 0.1; echo late) & wait; md5sum d/f1; expr 6 '*' 7; find d -name 'f*' | wc -l
`;

const CLONE = `set -e
export HOME="$PWD" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_DATE='2024-01-02 03:04:05 +0000' GIT_COMMITTER_DATE='2024-01-02 03:04:05 +0000'
mkdir origin && cd origin && git init -q -b main && git config user.email nobody@example.test && git config user.name Nobody
for i in 1 2 3 4 5 6 7 8; do seq 1 $((i * 200)) > file$i; git add . && git commit -q -m "commit $i"; done
git checkout -q -b side HEAD~3 && echo side > side && git add side && git commit -q -m side && git checkout -q main`;

const C_PROGRAM = `#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
static void *square(void *n) { return (void *)((long)n * (long)n); }
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int main(void) {
  int numbers[1000]; unsigned x = 1;
  for (int i = 0; i < 1000; i++) numbers[i] = (int)((x = x * 1103515245 + 12345) >> 8 & 0xffff);
  qsort(numbers, 1000, sizeof *numbers, compare);
  pthread_t thread; void *result;
  pthread_create(&thread, 0, square, (void *)12L); pthread_join(thread, &result);
  printf("%d %d %d %ld\\n", numbers[0], numbers[500], numbers[999], (long)result);
  return 0;
}
`;

const FUZZED = {
  "mod/go.mod": "module example.test/fuzzed\n\ngo 1.24\n",
  "mod/reverse.go": `package fuzzed

func Reverse(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}
`,
  "mod/reverse_test.go": `package fuzzed

import (
	"testing"
	"unicode/utf8"
)

func FuzzReverse(f *testing.F) {
	f.Add("hello")
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) && !utf8.ValidString(Reverse(s)) {
			t.Fatal("not UTF-8 any more")
		}
	})
}
`,
};

export const DYNAMIC: readonly Program[] = [
  again(TOOLS, "gh", debian("gh", "2.23.0+dfsg1-1", "usr/bin/gh")),
  again(TOOLS, "restic", debian("restic", "0.14.0-1+b5", "usr/bin/restic")),
  again(TOOLS, "hugo", debian("hugo", "0.111.3-1", "usr/bin/hugo")),
  // What this release makes of ^C, 0 or 130, is for chance to say.
  again(TERMINALS, "fzf", debian("fzf", "0.38.0-1+b1", "usr/bin/fzf"), { steps: [fzf.steps[0]], outputs: ["chosen"] }),
  again(SERVERS, "caddy", debian("caddy", "2.6.2-5", "usr/bin/caddy")),
  again(SERVERS, "prometheus", debian("prometheus", "2.42.0+ds-5+deb12u1", "usr/bin/prometheus")),
  again(SERVERS, "nats-server", debian("nats-server", "2.9.10-1+b3", "usr/sbin/nats-server")),
  {
    name: "debian-etcd",
    source: debian("etcd-server", "3.4.23-4+b4", "usr/bin/etcd"),
    job: "100 keys at once, ranges, transactions, a lease, stop (dynamic)",
    steps: [
      run("--version"),
      {
        kind: "server",
        args: [
          ...["--name", "one", "--data-dir", "{DIR}/data", "--log-level", "error", "--initial-cluster-token", "t"],
          ...["--listen-client-urls", "http://127.0.0.1:{PORT}", "--advertise-client-urls", "http://127.0.0.1:{PORT}"],
          ...["--listen-peer-urls", "http://127.0.0.1:{PORT2}", "--initial-advertise-peer-urls"],
          ...["http://127.0.0.1:{PORT2}", "--initial-cluster", "one=http://127.0.0.1:{PORT2}"],
        ],
        talk: talkToEtcd,
        stop: "SIGTERM",
      },
    ],
  },
  {
    name: "debian-dlv",
    source: debian("delve", "1.20.2-1+deb12u1", "usr/bin/dlv"),
    job: "says its version and its help (dynamic)",
    env: { HOME: "{DIR}" },
    steps: [run("version"), run("help"), run("help", "exec"), run("exec", "/nothing")],
  },
  {
    name: "debian-podman",
    source: debian("podman", "4.3.1+ds1-8+deb12u1+b3", "usr/bin/podman"),
    job: "says its version and its help (dynamic)",
    env: { HOME: "{DIR}" },
    steps: [run("--version"), run("--help"), run("nothing")],
  },
  {
    name: "debian-docker",
    source: debian("docker.io", "20.10.24+dfsg1-1+deb12u1+b6", "usr/bin/docker"),
    job: "says its version, that no daemon is there (dynamic, PIE)",
    env: { HOME: "{DIR}", DOCKER_HOST: "unix://{DIR}/none" },
    steps: [run("--version"), run("ps"), run("context", "ls"), run("nothing")],
  },
  {
    name: "cgo-server",
    source: { kind: "driver", folder: "cgo-server", modules: [], cgo: true },
    job: "users and names by glibc, 100 requests over TLS to itself (cgo)",
    steps: [run()],
  },
  {
    name: "cgo-sqlite",
    source: { kind: "driver", folder: "cgo-sqlite", modules: ["github.com/mattn/go-sqlite3@v1.14.53"], cgo: true },
    job: "SQLite in C: 20,000 rows, functions in Go, 8 readers, opened again and checked (cgo)",
    steps: [run("{DIR}/db")],
  },
  {
    name: "go-fuzz",
    source: { kind: "toolchain", version: "go1.27.3" },
    job: "go test -fuzz: finds an input that fails, with workers that share memory with it",
    files: FUZZED,
    prepare: [
      [
        "sh",
        "-c",
        "cd mod && GOCACHE={STORE}/gocache GOTOOLCHAIN=go1.27.3 go test -c -fuzz Fuzz -o ../warm . && rm ../warm",
      ],
    ],
    env: { GOCACHE: "{STORE}/gocache", GOFLAGS: "-mod=mod", GOTOOLCHAIN: "local", HOME: "{DIR}" },
    steps: [
      // Inputs that were interesting are kept beside the packages: each run finds its own.
      run("clean", "-fuzzcache"),
      {
        kind: "run",
        args: ["test", "-C", "mod", "-fuzz", "Fuzz", "."],
        lines: /not UTF-8|^FAIL|--- FAIL: FuzzReverse \(/,
      },
    ],
    normalise: ["durations"],
    limit: 600,
  },
  {
    name: "ssh-keygen",
    source: debian("openssh-client", "1:9.2p1-2+deb12u10", "usr/bin/ssh-keygen"),
    job: "makes keys, signs a file, checks the signature and a wrong one (C)",
    files: { text: "what is signed\n", other: "what is not\n" },
    prepare: [
      ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "somebody", "-f", "key"],
      ["sh", "-c", "echo somebody $(cat key.pub) > signers"],
    ],
    steps: [
      run("-l", "-f", "key.pub"),
      run("-y", "-f", "key"),
      run("-Y", "sign", "-n", "file", "-f", "key", "text"),
      {
        ...run("-Y", "verify", "-n", "file", "-f", "signers", "-I", "somebody", "-s", "text.sig"),
        stdin: "what is signed\n",
      },
      {
        ...run("-Y", "verify", "-n", "file", "-f", "signers", "-I", "somebody", "-s", "text.sig"),
        stdin: "what is not\n",
      },
      run("-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "new"),
      { ...run("-l", "-f", "new.pub"), compare: "status" },
      run("-l", "-f", "none"),
    ],
    outputs: ["text.sig"],
  },
  {
    name: "busybox",
    source: debian("busybox", "1:1.35.0-4+deb12u1+b1", "bin/busybox"),
    job: "a script of its shell with its own tools (C)",
    files: { script: BUSYBOX },
    steps: [run("sh", "script"), run("ls", "nothing"), run("sha1sum", "script")],
  },
  {
    name: "bash",
    source: debian("bash", "5.2.15-2+b13", "bin/bash"),
    job: "pipes, subshells, traps, background jobs, coreutils (C)",
    files: { script: SHELL },
    steps: [run("script"), run("-c", "echo $((6 * 7)); exec sort -u", "script")],
    outputs: ["copy", "five"],
  },
  {
    name: "python3",
    source: debian("python3.11-minimal", "3.11.2-6+deb12u8", "usr/bin/python3.11"),
    job: "its own test_json, a pool of processes (C)",
    files: {
      "pool.py": `import hashlib, multiprocessing, subprocess
def work(n):
    return n, hashlib.sha256(bytes(n)).hexdigest()[:8]
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(4) as pool:
        print(pool.map(work, range(20)))
    print(subprocess.run(["sh", "-c", "cat; exit 3"], input=b"to sh", capture_output=True))
`,
    },
    env: { HOME: "{DIR}", PYTHONDONTWRITEBYTECODE: "1" },
    steps: [
      { kind: "run", args: ["-m", "test", "test_json"], lines: /^(Tests result|OK|FAILED|\d+ test)/ },
      run("pool.py"),
    ],
    normalise: ["durations"],
    limit: 600,
  },
  {
    name: "git",
    source: debian("git", "1:2.39.5-0+deb12u3", "usr/bin/git"),
    job: "clones a local repository, log, merge, repack, check (C)",
    tools: ["git"],
    prepare: [["sh", "-c", CLONE]],
    env: { HOME: "{DIR}", GIT_CONFIG_NOSYSTEM: "1", GIT_COMMITTER_DATE: "2024-01-02 03:04:05 +0000" },
    steps: [
      run("clone", "--no-local", "origin", "clone"),
      run("-C", "clone", "log", "--stat", "--graph", "--all"),
      run(
        "-C",
        "clone",
        "-c",
        "user.name=N",
        "-c",
        "user.email=n@example.test",
        "merge",
        "origin/side",
        "-m",
        "merged",
      ),
      run("-C", "clone", "diff", "HEAD~1", "--stat"),
      run("-C", "clone", "gc", "--quiet"),
      run("-C", "clone", "fsck", "--full"),
      run("-C", "clone", "rev-parse", "HEAD^{tree}"),
    ],
  },
  {
    name: "gcc",
    source: debian("gcc-12", "12.2.0-14+deb12u1", "usr/bin/x86_64-linux-gnu-gcc-12"),
    job: "compiles and links a C program, which runs; one that is wrong (C)",
    tools: ["gcc"],
    files: { "program.c": C_PROGRAM, "wrong.c": "int main(void) { return x }\n" },
    steps: [
      run("-O2", "-pthread", "-o", "built", "program.c"),
      run("-O2", "-S", "-o", "program.s", "program.c"),
      run("wrong.c"),
    ],
    outputs: ["built", "program.s"],
  },
];
