// Programs that work on programs: compilers, checkers, the go command.
import type { Program } from "../program.ts";

const GO_VERSION = "go1.27.3";

/** A small module with a mistake that checkers find. */
const MODULE: Readonly<Record<string, string>> = {
  "mod/go.mod": "module example.test/mod\n\ngo 1.26\n",
  "mod/main.go": `package main

import (
	"fmt"
	"os"

	"example.test/mod/words"
)

func main() {
	counts := words.Count(os.Args[1:])
	for _, word := range words.Sorted(counts) {
		fmt.Printf("%s: %d\\n", word, counts[word])
	}
}
`,
  "mod/words/words.go": `// Package words counts words.
package words

import (
	"sort"
	"strings"
)

// Count tells how often each word is there.
func Count(texts []string) map[string]int {
	counts := map[string]int{}
	for _, text := range texts {
		for _, word := range strings.Fields(text) {
			counts[strings.ToLower(word)]++
		}
	}
	return counts
}

// Sorted gives the words in their order.
func Sorted(counts map[string]int) []string {
	var words []string
	for word := range counts {
		words = append(words, word)
	}
	sort.Strings(words)
	return words
}
`,
  "mod/words/words_test.go": `package words

import "testing"

func TestCount(t *testing.T) {
	counts := Count([]string{"one two", "Two three two"})
	if counts["two"] != 3 || len(counts) != 3 {
		t.Fatal(counts)
	}
}

func TestFails(t *testing.T) {
	t.Run("inside", func(t *testing.T) { t.Error("as it should") })
}

func FuzzSorted(f *testing.F) {
	f.Add("b a")
	f.Fuzz(func(t *testing.T, text string) { Sorted(Count([]string{text})) })
}
`,
  "bad/go.mod": "module example.test/bad\n\ngo 1.26\n",
  "bad/bad.go": `package bad

import (
	"fmt"
	"strings"
	"time"
)

func unused() {}

// Wrong has mistakes of several kinds.
func Wrong(s string) error {
	fmt.Printf("%d\\n", s)
	if strings.Index(s, "x") != -1 == true {
		time.Sleep(5)
	}
	var err error
	err = fmt.Errorf("lost")
	err = nil
	return err
}
`,
  "broken/go.mod": "module example.test/broken\n\ngo 1.26\n",
  "broken/broken.go": 'package broken\n\nfunc f() int { return "text" }\n',
};

const GO_ENV = {
  GOCACHE: "{DIR}/gocache",
  GOPATH: "{DIR}/gopath",
  GOFLAGS: "-mod=mod",
  GOPROXY: "off",
  GOTOOLCHAIN: "local",
  CGO_ENABLED: "0",
  GOTELEMETRY: "off",
};

/**
 * The standard packages come compiled and vetted, as anybody's cache has them; those of the module do not. They are kept
 * with the programs, since they take a minute.
 */
const PACKAGES = "fmt os sort strings testing time";
const STANDARD = `export GOCACHE={STORE}/gocache; go vet ${PACKAGES} && go build -trimpath ${PACKAGES} && mkdir -p gocache`;
const WARM = [["sh", "-c", `${STANDARD} && cp -a {STORE}/gocache . && rm -rf {DIR}/tmp/*`]];

export const DEVELOPMENT: readonly Program[] = [
  {
    name: "go",
    source: { kind: "toolchain", version: GO_VERSION },
    job: "builds, vets and tests a module, with compiler and linker as children; the standard packages come compiled",
    files: MODULE,
    prepare: WARM,
    env: GO_ENV,
    steps: [
      { kind: "run", args: ["version"] },
      { kind: "run", args: ["list", "-C", "mod", "-f", "{{.ImportPath}} {{.Deps}}", "./..."] },
      { kind: "run", args: ["build", "-C", "mod", "-trimpath", "-o", "{DIR}/built", "."] },
      { kind: "run", args: ["vet", "-C", "bad", "."] },
      { kind: "run", args: ["test", "-C", "mod", "-v", "./..."] },
      { kind: "run", args: ["build", "-C", "broken", "."] },
      { kind: "run", args: ["run", "-C", "mod", ".", "one two", "two"] },
    ],
    outputs: ["built"],
    normalise: ["durations"],
    limit: 900,
  },
  {
    name: "gopls",
    source: { kind: "go", package: "golang.org/x/tools/gopls", version: "v0.23.0" },
    job: "checks a module, lists symbols and references",
    needs: ["go"],
    files: MODULE,
    prepare: WARM,
    env: GO_ENV,
    steps: [
      { kind: "run", args: ["version"], compare: "stdout" },
      { kind: "run", args: ["check", "bad/bad.go"] },
      { kind: "run", args: ["symbols", "mod/words/words.go"] },
    ],
    limit: 600,
  },
  {
    name: "staticcheck",
    source: { kind: "go", package: "honnef.co/go/tools/cmd/staticcheck", version: "v0.8.2" },
    job: "checks a module with its standard packages",
    needs: ["go"],
    files: { ...MODULE, "bad/staticcheck.conf": 'checks = ["all"]\n' },
    prepare: WARM,
    env: GO_ENV,
    steps: [
      { kind: "run", args: ["-debug.version"], compare: "status" },
      { kind: "run", args: ["bad/bad.go"] },
    ],
    limit: 900,
  },
  {
    name: "tsc",
    source: { kind: "npm", package: "@typescript/typescript-linux-x64", version: "7.0.2", file: "lib/tsc" },
    job: "type-checks this repository",
    folder: "repository",
    steps: [{ kind: "run", args: ["--noEmit", "-p", "."] }],
  },
  {
    name: "esbuild",
    source: { kind: "npm", package: "@esbuild/linux-x64", version: "0.28.2", file: "bin/esbuild" },
    job: "bundles this repository, minified, with a source map",
    folder: "repository",
    steps: [
      {
        kind: "run",
        args: [
          "index.ts",
          "--bundle",
          "--minify",
          "--sourcemap",
          "--platform=node",
          "--format=esm",
          "--external:iced-x86",
          "--log-level=warning",
          "--outdir={DIR}/out",
        ],
      },
    ],
    outputs: ["out"],
  },
  {
    name: "yaegi",
    source: { kind: "go", package: "github.com/traefik/yaegi/cmd/yaegi", version: "v0.16.1" },
    job: "interprets a Go program with goroutines and generics",
    files: {
      "main.go": `package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"
)

type shape interface{ area() float64 }
type square struct{ side float64 }

func (s square) area() float64 { return s.side * s.side }

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func main() {
	fmt.Println(fib(20))
	var wg sync.WaitGroup
	results := make(chan string, 10)
	for i := 0; i < 10; i++ {
		wg.Add(1)
		go func(n int) {
			defer wg.Done()
			var s shape = square{float64(n)}
			results <- strings.Repeat("*", n) + fmt.Sprint(s.area())
		}(i)
	}
	wg.Wait()
	close(results)
	var all []string
	for r := range results {
		all = append(all, r)
	}
	sort.Strings(all)
	fmt.Println(all)
	defer func() { fmt.Println("recovered:", recover()) }()
	var m map[string]int
	m["x"] = 1
}
`,
    },
    steps: [{ kind: "run", args: ["run", "main.go"] }],
  },
  ...(["compiler", "interpreter"] as const).map(
    (engine): Program => ({
      name: engine === "compiler" ? "wazero" : "wazero-interpreter",
      source: { kind: "go", package: "github.com/tetratelabs/wazero/cmd/wazero", version: "v1.12.0" },
      job: `runs a Go program made for WASI, in its ${engine}`,
      needs: ["go"],
      files: {
        "go.mod": "module example.test/guest\n\ngo 1.26\n",
        "main.go": `package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"sort"
)

func main() {
	sum := sha256.Sum256(make([]byte, 1<<20))
	fmt.Printf("%x %v\\n", sum, os.Args[1:])
	values := make([]int, 50000)
	for i := range values {
		values[i] = i * 7919 % 50021
	}
	sort.Ints(values)
	fmt.Println(values[0], values[25000], values[49999])
	os.Exit(3)
}
`,
      },
      prepare: [
        [
          "env",
          "GOCACHE={STORE}/gocache",
          "GOOS=wasip1",
          "GOARCH=wasm",
          "go",
          "build",
          "-trimpath",
          "-o",
          "guest.wasm",
          ".",
        ],
      ],
      env: GO_ENV,
      steps: [
        {
          kind: "run",
          args: ["run", ...(engine === "interpreter" ? ["-interpreter"] : []), "guest.wasm", "one", "two"],
        },
      ],
    }),
  ),
];
