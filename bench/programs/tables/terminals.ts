// Programs that fill a terminal, with somebody at the keyboard.
import type { Program } from "../program.ts";

const LIST = Array.from({ length: 1000 }, (_, n) => `entry number ${n}\n`).join("");

const COMMITS = [
  "git init -q -b main",
  "git config user.email nobody@example.test",
  "git config user.name Nobody",
  "git add one.txt && git commit -q -m first",
  "git add two.txt && git commit -q -m second",
  "echo changed >> one.txt",
].join(" && ");

export const TERMINALS: readonly Program[] = [
  {
    name: "fzf",
    source: { kind: "go", package: "github.com/junegunn/fzf", version: "v0.65.2" },
    job: "choosing from 1,000 lines by typing, with arrows, in another size",
    files: { list: LIST },
    steps: [
      {
        kind: "terminal",
        args: ["--multi", "--no-mouse"],
        stdin: "list",
        stdout: "chosen",
        script: [
          { wait: /1000\/1000/ },
          { type: "77" },
          { wait: /28\/1000/ },
          { screen: true },
          { keys: ["Up", "Tab", "Tab"] },
          { wait: /\(2\)/ },
          { resize: [60, 15] },
          { screen: true },
          { keys: ["Enter"] },
        ],
      },
      {
        kind: "terminal",
        args: [],
        stdin: "list",
        stdout: "none",
        script: [{ wait: /1000\/1000/ }, { keys: ["C-c"] }],
      },
    ],
    outputs: ["chosen", "none"],
    limit: 60,
  },
  {
    name: "lf",
    source: { kind: "debian", package: "lf", version: "28-1+b3", file: "usr/bin/lf" },
    job: "moving through folders, another size, quitting",
    files: { "a/x.txt": "text of x\n", "a/y.txt": "text of y\n", "b/z.txt": "text of z\n", "c.txt": "text of c\n" },
    env: { USER: "somebody" },
    steps: [
      {
        kind: "terminal",
        args: ["-single", "{DIR}"],
        script: [
          { wait: /x\.txt[\s\S]*y\.txt/ },
          { keys: ["Right"] },
          { wait: /text of x/ },
          { keys: ["Down"] },
          { wait: /text of y/ },
          { resize: [100, 30] },
          { keys: ["Left"] },
          { wait: /c\.txt/ },
          { type: "q" },
        ],
      },
    ],
    limit: 60,
  },
  {
    name: "micro",
    source: { kind: "pypi", package: "micro-editor", version: "2.0.15", file: "scripts/micro" },
    job: "editing a file, searching, saving, quitting",
    files: { "config/settings.json": "{}\n", "text.txt": "first line\nsecond line\nthird line\n" },
    steps: [
      {
        kind: "terminal",
        args: ["-config-dir", "{DIR}/config", "text.txt"],
        script: [
          { wait: /third line/ },
          { type: "typed " },
          { wait: /typed first line/ },
          { keys: ["Down", "End", "Enter"] },
          { type: "größe" },
          { wait: /größe/ },
          { screen: true },
          { resize: [60, 16] },
          { screen: true },
          { keys: ["C-s"] },
          { wait: /Saved/ },
          { keys: ["C-q"] },
        ],
      },
    ],
    outputs: ["text.txt"],
    limit: 60,
  },
  {
    name: "lazygit",
    source: { kind: "pypi", package: "lazygit-py", version: "0.66.2", file: "scripts/lazygit" },
    job: "stages a file of a Git repository, commits, quits; git as its child",
    tools: ["git"],
    files: {
      "repo/one.txt": "one\n",
      "repo/two.txt": "two\n",
      "config.yml":
        "disableStartupPopups: true\ngit: { autoFetch: false, autoRefresh: false }\nupdate: { method: never }\n",
    },
    prepare: [["sh", "-c", `cd repo && ${COMMITS}`]],
    env: {
      GIT_AUTHOR_DATE: "2024-05-06T07:08:09Z",
      GIT_COMMITTER_DATE: "2024-05-06T07:08:09Z",
      LAZYGIT_DATA_DIR: "{DIR}/state",
    },
    steps: [
      {
        kind: "terminal",
        args: ["--use-config-file", "{DIR}/config.yml", "--path", "{DIR}/repo"],
        script: [
          { wait: /one\.txt/ },
          { wait: /second/ },
          { keys: ["Space"] },
          { wait: /M {1,2}one\.txt/ },
          { type: "c" },
          { wait: /Commit summary/ },
          { type: "third" },
          { wait: /third/ },
          { keys: ["Enter"] },
          { wait: /1 of 3/ },
          { gone: /one\.txt/ },
          { resize: [100, 30] },
          { type: "q" },
        ],
      },
    ],
    outputs: ["repo/.git/refs/heads/main"],
    limit: 90,
  },
];
