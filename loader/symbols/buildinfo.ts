import { PF_W } from "../elf-constants.ts";
import { SymbolError } from "../errors.ts";
import { occurrences, type Place, type ProgramImage, symbolFailure } from "./image.ts";

/** A module in the build list, as `go version -m` shows it (Go runtime/debug, Module). */
export interface GoModule {
  readonly path: string;
  readonly version: string;
  readonly sum: string;
  readonly replacement?: GoModule;
}

/** How an executable was built (Go runtime/debug, BuildInfo). */
export interface GoBuildInfo {
  /** For instance "go1.26.1". */
  readonly goVersion: string;
  /** Package path of main. */
  readonly path: string | undefined;
  readonly main: GoModule | undefined;
  readonly dependencies: readonly GoModule[];
  /** Build settings such as -ldflags, CGO_ENABLED, GOAMD64, vcs.revision, in the file's order. */
  readonly settings: Readonly<Record<string, string>>;
}

const MAGIC = new TextEncoder().encode("\xff Go buildinf:".slice(1));
const ALIGNMENT = 16;
const HEADER_SIZE = 32;
const FLAGS = 15;
const FLAG_INLINE = 2;
const SENTINEL_SIZE = 16;

/**
 * Reads the build information that the Go linker leaves in .go.buildinfo (Go debug/buildinfo); undefined when there is
 * none. Found by its section or, without one, by its magic in the writable segments.
 * @throws SymbolError when it is there but damaged.
 */
export function readBuildInfo(image: ProgramImage): GoBuildInfo | undefined {
  const place = findHeader(image);
  if (place === undefined) {
    return undefined;
  }
  const { reader, offset } = place;
  const [goVersion, framed] =
    (reader.u8(offset + FLAGS) & FLAG_INLINE) !== 0 ? inlineStrings(place) : pointedStrings(image, place);
  if (goVersion === "") {
    return undefined;
  }
  return { goVersion, ...parseModuleInfo(unframe(framed)) };
}

function findHeader(image: ProgramImage): Place | undefined {
  const section = image.executable.sections.find(({ name }) => name === ".go.buildinfo");
  const segments =
    section === undefined
      ? image.segments.filter(({ flags }) => (flags & PF_W) !== 0)
      : image.segments.filter((segment) => segment === image.segmentAt(section.address));
  for (const segment of segments) {
    const reader = image.reader(segment);
    // Where a section says where it is, the rest of the segment need not be read.
    const from = section === undefined ? 0 : section.address - segment.vaddr;
    const to = section === undefined ? reader.length : Math.min(from + section.size, reader.length);
    for (const found of occurrences(reader.slice(from, to - from), MAGIC)) {
      const offset = from + found - 1;
      const isHeader = offset >= 0 && reader.u8(offset) === 0xff && (segment.vaddr + offset) % ALIGNMENT === 0;
      if (isHeader && offset + HEADER_SIZE <= reader.length) {
        return { reader, offset };
      }
    }
  }
  return undefined;
}

/** Since Go 1.18: two strings, each after its length as a varint, follow the header. */
function inlineStrings({ reader, offset }: Place): [version: string, moduleInfo: Uint8Array] {
  let at = offset + HEADER_SIZE;
  const next = () => {
    let size = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = reader.u8(at++);
      size += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        break;
      }
      if (scale > 2 ** 35) {
        throw symbolFailure("build information has a string of impossible length");
      }
    }
    const bytes = reader.slice(at, size);
    at += size;
    return bytes;
  };
  return [new TextDecoder().decode(next()), next()];
}

/** Until Go 1.17: the header points to two Go strings. */
function pointedStrings(image: ProgramImage, { reader, offset }: Place): [version: string, moduleInfo: Uint8Array] {
  const stringAt = (pointer: number) => (pointer === 0 ? new Uint8Array(0) : image.goStringAt(pointer));
  const version = new TextDecoder().decode(stringAt(reader.u64(offset + 16)));
  return [version, stringAt(reader.u64(offset + 24))];
}

/** Strips the sentinels that cmd/go puts around the module information (modload.infoStart and infoEnd). */
function unframe(framed: Uint8Array): string {
  const isFramed = framed.length >= SENTINEL_SIZE * 2 + 1 && framed[framed.length - SENTINEL_SIZE - 1] === 0x0a;
  return isFramed ? new TextDecoder().decode(framed.subarray(SENTINEL_SIZE, -SENTINEL_SIZE)) : "";
}

/** The lines of Go runtime/debug, ParseBuildInfo: a keyword and tab-separated fields. */
function parseModuleInfo(text: string): Omit<GoBuildInfo, "goVersion"> {
  let path: string | undefined;
  let main: GoModule | undefined;
  const dependencies: GoModule[] = [];
  const settings: [string, string][] = [];
  for (const line of text.split("\n")) {
    const [keyword, ...fields] = line.split("\t");
    const module = { path: fields[0] ?? "", version: fields[1] ?? "", sum: fields[2] ?? "" };
    if (keyword === "path") {
      path = fields[0];
    } else if (keyword === "mod") {
      main = module;
    } else if (keyword === "dep") {
      dependencies.push(module);
    } else if (keyword === "=>") {
      const replaced = dependencies.pop();
      if (replaced !== undefined) {
        dependencies.push({ ...replaced, replacement: module });
      } else if (main !== undefined) {
        main = { ...main, replacement: module };
      }
    } else if (keyword === "build") {
      settings.push(parseSetting(fields.join("\t")));
    }
  }
  return { path, main, dependencies, settings: Object.fromEntries(settings) };
}

/** `key=value`, either of which is a Go string literal where it holds blanks, quotes or an equals sign. */
function parseSetting(text: string): [key: string, value: string] {
  const quotedKey = /^"(?:[^"\\]|\\.)*"|^`[^`]*`/.exec(text)?.[0];
  const keyEnd = quotedKey === undefined ? text.indexOf("=") : quotedKey.length;
  if (keyEnd < 0) {
    return [text, ""];
  }
  return [unquote(text.slice(0, keyEnd)), unquote(text.slice(keyEnd + 1))];
}

function unquote(text: string): string {
  if (/^`[^`]*`$/.test(text)) {
    return text.slice(1, -1);
  }
  if (!/^".*"$/.test(text)) {
    return text;
  }
  const escapes: Record<string, string> = { n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v" };
  return text
    .slice(1, -1)
    .replace(/\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/g, (_, x, u, long, simple) => {
      const code = Number.parseInt(x ?? u ?? long ?? "", 16);
      return Number.isNaN(code) ? (escapes[simple] ?? simple) : String.fromCodePoint(Math.min(code, 0x10ffff));
    });
}

/** A Go release or development version as runtime.buildVersion has it. */
const VERSION_PATTERN = /^(?:go1\.(\d+)(?:\.(\d+))?|devel )[\x20-\x7e]{0,100}$/;

/**
 * runtime.buildVersion of an executable without build information: the Go string in writable data that is a Go
 * version. Of several (a program may list releases), the highest one, as nothing knows of releases after its own.
 * @param address where the symbol table, if any, says that runtime.buildVersion is
 */
export function findBuildVersion(image: ProgramImage, address: number | undefined): string | undefined {
  if (address !== undefined) {
    const version = versionAt(image, address);
    if (version !== undefined) {
      return version;
    }
  }
  let best: { version: string; rank: number } | undefined;
  for (const segment of image.segments.filter(({ flags }) => (flags & PF_W) !== 0)) {
    const reader = image.reader(segment);
    for (let offset = 0; offset + 16 <= reader.length; offset += 8) {
      // Cheap first: the length of a version, then the pointer.
      const size = reader.u64(offset + 8);
      if (size >= 5 && size <= 128 && image.segmentAt(reader.u64(offset)) !== undefined) {
        const version = versionAt(image, segment.vaddr + offset);
        const rank = version === undefined ? 0 : versionRank(version);
        if (version !== undefined && rank > (best?.rank ?? 0)) {
          best = { version, rank };
        }
      }
    }
  }
  return best?.version;
}

function versionAt(image: ProgramImage, address: number): string | undefined {
  try {
    const { reader, offset } = image.place(address);
    if (reader.u64(offset + 8) > 128) {
      return undefined;
    }
    const text = new TextDecoder().decode(image.goStringAt(address));
    return VERSION_PATTERN.test(text) ? text : undefined;
  } catch (error) {
    if (error instanceof SymbolError) {
      return undefined;
    }
    throw error;
  }
}

function versionRank(version: string): number {
  const [, minor, patch] = VERSION_PATTERN.exec(version) ?? [];
  return Number(minor ?? 0) * 1000 + Number(patch ?? 0) + 1;
}

/** N of Go 1.N for a version such as "go1.26.1", "go1.21rc2" or "devel go1.27-abcdef". */
export function goMinorVersion(version: string | undefined): number | undefined {
  const match = /\bgo1\.(\d+)/.exec(version ?? "");
  return match === null ? undefined : Number(match[1]);
}
