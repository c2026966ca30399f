import { hex } from "./bytes.ts";
import type { Executable, LoadError } from "./elf.ts";
import {
  PF_R,
  PF_W,
  PF_X,
  PT_DYNAMIC,
  PT_GNU_EH_FRAME,
  PT_GNU_PROPERTY,
  PT_GNU_RELRO,
  PT_GNU_STACK,
  PT_INTERP,
  PT_LOAD,
  PT_NOTE,
  PT_PHDR,
  PT_TLS,
  SHF_ALLOC,
  SHF_EXECINSTR,
  SHF_WRITE,
} from "./elf-constants.ts";
import { SymbolError } from "./errors.ts";
import { printable } from "./identify.ts";
import { type GoBuildInfo, type GoModule, SymbolTable } from "./symbols/table.ts";

export interface SectionInfo {
  readonly name: string;
  readonly address: number;
  readonly offset: number;
  readonly size: number;
  /** Of "w" (writable), "a" (in memory) and "x" (code). */
  readonly flags: string;
}

export interface SegmentInfo {
  /** Its PT_ name without the prefix, or the number in hexadecimal. */
  readonly type: string;
  readonly address: number;
  readonly offset: number;
  readonly fileSize: number;
  readonly memorySize: number;
  /** Like "r-x". */
  readonly protection: string;
}

/** What there is to say about an executable, as plain data for JSON. Addresses as linked. */
export interface ExecutableInfo {
  readonly file: string;
  readonly type: "ET_EXEC" | "ET_DYN";
  readonly entry: number;
  /** The function at the entry point. */
  readonly entryFunction: string | null;
  readonly linkage: "static" | "static PIE" | "PIE" | "dynamic" | "shared library";
  readonly interpreter: string | null;
  readonly segments: readonly SegmentInfo[];
  readonly sections: readonly SectionInfo[];
  /** Null for a program that is not Go's, as far as the file shows. */
  readonly go: {
    /** Null when the file does not say. */
    readonly version: string | null;
    /** 1 to 4 for GOAMD64=v1 to v4; null when the file does not say. */
    readonly goamd64: number | null;
    readonly path: string | null;
    readonly main: GoModule | null;
    readonly dependencies: readonly GoModule[];
    readonly settings: Readonly<Record<string, string>>;
  } | null;
  /** What is wrong with the symbols, where they are damaged; null otherwise. */
  readonly symbolProblem: string | null;
  /** Whether goemu can run it and, if not, why and what to do. */
  readonly runnable: { readonly ok: true } | { readonly ok: false; readonly reason: string; readonly hint: string };
}

const SEGMENT_TYPES: Readonly<Record<number, string>> = {
  [PT_LOAD]: "LOAD",
  [PT_DYNAMIC]: "DYNAMIC",
  [PT_INTERP]: "INTERP",
  [PT_NOTE]: "NOTE",
  [PT_PHDR]: "PHDR",
  [PT_TLS]: "TLS",
  [PT_GNU_EH_FRAME]: "GNU_EH_FRAME",
  [PT_GNU_STACK]: "GNU_STACK",
  [PT_GNU_RELRO]: "GNU_RELRO",
  [PT_GNU_PROPERTY]: "GNU_PROPERTY",
};

/**
 * Describes an executable as inspectExecutable() returns it. Damaged symbols are part of the description; nothing is
 * thrown for them.
 * @param problem why it cannot be run, if it cannot
 */
export function describe(executable: Executable, problem?: LoadError): ExecutableInfo {
  const symbols = new SymbolTable(executable);
  let symbolProblem: string | null = null;
  const ask = <T>(question: () => T | undefined): T | undefined => {
    try {
      return question();
    } catch (error) {
      if (!(error instanceof SymbolError)) {
        throw error;
      }
      symbolProblem ??= error.message;
      return undefined;
    }
  };
  const entryFunction = ask(() => symbols.lookup(executable.entry)?.name) ?? null;
  const buildInfo = ask(() => symbols.buildInfo);
  const version = ask(() => symbols.goVersion);
  const isGo = buildInfo !== undefined || ask(() => symbols.hasGoFunctions) === true;
  return {
    file: executable.name,
    type: executable.type,
    entry: executable.entry,
    entryFunction,
    linkage: linkageOf(executable, problem),
    interpreter: executable.interpreter ?? null,
    segments: executable.programHeaders.map(({ type, vaddr, offset, fileSize, memSize, flags }) => ({
      type: SEGMENT_TYPES[type] ?? hex(type),
      address: vaddr,
      offset,
      fileSize,
      memorySize: memSize,
      protection: `${(flags & PF_R) !== 0 ? "r" : "-"}${(flags & PF_W) !== 0 ? "w" : "-"}${(flags & PF_X) !== 0 ? "x" : "-"}`,
    })),
    sections: executable.sections
      .filter(({ name, size }) => name !== "" || size > 0)
      .map(({ name, address, offset, size, flags }) => ({ name, address, offset, size, flags: sectionFlags(flags) })),
    go: isGo ? goInfo(version, buildInfo) : null,
    symbolProblem,
    runnable: problem === undefined ? { ok: true } : { ok: false, reason: problem.message, hint: problem.hint },
  };
}

function linkageOf(executable: Executable, problem: LoadError | undefined): ExecutableInfo["linkage"] {
  if (problem?.kind === "shared-library") {
    return "shared library";
  }
  if (executable.needsInterpreter) {
    return "dynamic";
  }
  if (executable.isStaticPie) {
    return "static PIE";
  }
  return executable.type === "ET_DYN" ? "PIE" : "static";
}

function sectionFlags(flags: number): string {
  // Flags are 64 bits wide; the ones named here are in the low word.
  const low = flags % 0x1_0000_0000;
  const has = (flag: number) => (low & flag) !== 0;
  return `${has(SHF_WRITE) ? "w" : ""}${has(SHF_ALLOC) ? "a" : ""}${has(SHF_EXECINSTR) ? "x" : ""}`;
}

function goInfo(version: string | undefined, buildInfo: GoBuildInfo | undefined): ExecutableInfo["go"] {
  return {
    version: version ?? null,
    goamd64: goamd64Level(buildInfo) ?? null,
    path: buildInfo?.path ?? null,
    main: buildInfo?.main ?? null,
    dependencies: buildInfo?.dependencies ?? [],
    settings: buildInfo?.settings ?? {},
  };
}

/** N of the GOAMD64=vN that a program was built with: the x86-64 level its CPU must have. Undefined if not recorded. */
export function goamd64Level(buildInfo: GoBuildInfo | undefined): number | undefined {
  const match = /^v([1-4])$/.exec(buildInfo?.settings["GOAMD64"] ?? "");
  return match === null ? undefined : Number(match[1]);
}

/** The printed form: what gdb's `info file` and `go version -m` show, one fact a line, ending in a newline. */
export function formatInfo(info: ExecutableInfo): string {
  const lines = [
    `${printable(info.file)}: ELF64 x86-64 ${info.type}, ${info.linkage}${
      info.interpreter === null ? "" : `, interpreter ${info.interpreter}`
    }`,
    info.runnable.ok
      ? "goemu can run it."
      : `goemu cannot run it: it ${printable(info.runnable.reason)} (${info.runnable.hint}).`,
    `Entry point: ${hex(info.entry)}${info.entryFunction === null ? "" : ` ${printable(info.entryFunction)}`}`,
    "Segments:",
    ...info.segments.map(
      ({ type, address, offset, fileSize, memorySize, protection }) =>
        `\t${span(address, memorySize)} ${protection} ${type} (${fileSize} bytes at file offset ${hex(offset)})`,
    ),
    info.sections.length === 0 ? "Sections: none" : "Sections:",
    ...info.sections
      .filter(({ flags }) => flags.includes("a"))
      .map(({ name, address, size }) => `\t${span(address, size)} is ${printable(name)}`),
    ...info.sections
      .filter(({ flags }) => !flags.includes("a"))
      .map(({ name, offset, size }) => `\t${size} bytes at file offset ${hex(offset)} are ${printable(name)}`),
  ];
  if (info.go !== null) {
    lines.push(...goLines(info.go));
  }
  if (info.symbolProblem !== null) {
    lines.push(`Symbols are damaged: ${printable(info.symbolProblem)}`);
  }
  return `${lines.join("\n")}\n`;
}

/** An address range as gdb prints it, end exclusive. */
function span(address: number, size: number): string {
  const full = (value: number) => `0x${value.toString(16).padStart(16, "0")}`;
  return `${full(address)} - ${full(address + size)}`;
}

function goLines(go: NonNullable<ExecutableInfo["go"]>): string[] {
  const moduleLine = (keyword: string, { path, version, sum }: GoModule) =>
    `\t${[keyword, path, version, sum]
      .filter((field) => field !== "")
      .map(printable)
      .join("\t")}`;
  const withReplacement = (keyword: string, module: GoModule) => [
    moduleLine(keyword, module),
    ...(module.replacement === undefined ? [] : [moduleLine("=>", module.replacement)]),
  ];
  return [
    `Go: ${printable(go.version ?? "version not recorded")}`,
    ...(go.path === null ? [] : [`\tpath\t${printable(go.path)}`]),
    ...(go.main === null ? [] : withReplacement("mod", go.main)),
    ...go.dependencies.flatMap((module) => withReplacement("dep", module)),
    ...Object.entries(go.settings).map(([key, value]) => `\tbuild\t${printable(key)}=${printable(value)}`),
    `GOAMD64: ${go.goamd64 === null ? "not recorded" : `v${go.goamd64}`}`,
  ];
}
