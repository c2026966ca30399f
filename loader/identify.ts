import { ByteReader } from "./bytes.ts";
import { LoadError } from "./errors.ts";

const BUILD_FOR_LINUX = "build it with GOOS=linux GOARCH=amd64";
/** How much of a file is looked at to tell text from binary. */
const SNIFF_LENGTH = 4096;

const MACHO_CPUS: Readonly<Record<number, string>> = {
  7: "x86",
  16777223: "x86-64",
  12: "ARM",
  16777228: "ARM64",
};

const PE_MACHINES: Readonly<Record<number, string>> = {
  332: "x86",
  34404: "x86-64",
  452: "ARM",
  43620: "ARM64",
};

/** Whether the file starts with the ELF magic (gABI chapter 4, e_ident). */
export function hasElfMagic(bytes: Uint8Array): boolean {
  return startsWith(bytes, 0x7f, 0x45, 0x4c, 0x46);
}

/**
 * The error for a file that is not ELF at all: says what it is, as far as its first bytes tell.
 * `bytes` is the whole file.
 */
export function notElf(bytes: Uint8Array): LoadError {
  if (bytes.length === 0) {
    return new LoadError("empty", "file is empty", "name a Linux executable");
  }
  return scriptError(bytes) ?? foreignExecutable(bytes) ?? otherFile(bytes);
}

function scriptError(bytes: Uint8Array): LoadError | undefined {
  if (!startsWith(bytes, 0x23, 0x21)) {
    return undefined;
  }
  const line = bytes.subarray(2, 256);
  const end = line.indexOf(0x0a);
  const interpreter = printable(new TextDecoder().decode(end < 0 ? line : line.subarray(0, end)).trim());
  return new LoadError(
    "script",
    `is a script for ${interpreter || "an unnamed interpreter"}, not an executable`,
    interpreter === "" ? "name an ELF executable" : `run that with the script's name: goemu ${interpreter} …`,
  );
}

function foreignExecutable(bytes: Uint8Array): LoadError | undefined {
  const reader = new ByteReader(bytes, "file", (message) => new LoadError("truncated", message, BUILD_FOR_LINUX));
  if (bytes.length < 8) {
    return undefined;
  }
  const foreign = (what: string) => new LoadError("other-os", `is ${what}`, BUILD_FOR_LINUX);
  const magic = reader.u32(0);
  if (magic === 0xfeedface || magic === 0xfeedfacf) {
    const cpu = MACHO_CPUS[reader.u32(4)];
    return foreign(`a Mach-O (macOS) file${cpu === undefined ? "" : ` for ${cpu}`}`);
  }
  if (magic === 0xcefaedfe || magic === 0xcffaedfe) {
    return foreign("a big-endian Mach-O (macOS) file");
  }
  if (magic === 0xbebafeca) {
    // Java class files share the magic of universal Mach-O files; there the next word is the class version, 45 or more.
    return bytes[7] < 45 && reader.u32(4) !== 0
      ? foreign("a universal Mach-O (macOS) file")
      : new LoadError("not-elf", "is a Java class file", "goemu runs Linux ELF executables");
  }
  if (startsWith(bytes, 0x4d, 0x5a)) {
    const header = bytes.length >= 64 ? reader.u32(60) : 0;
    const isPe = header !== 0 && header + 6 <= bytes.length && reader.u32(header) === 0x4550;
    const machine = isPe ? PE_MACHINES[reader.u16(header + 4)] : undefined;
    return foreign(`a ${isPe ? "PE" : "DOS or PE"} (Windows) file${machine === undefined ? "" : ` for ${machine}`}`);
  }
  if (startsWith(bytes, 0x00, 0x61, 0x73, 0x6d)) {
    return foreign("a WebAssembly module");
  }
  if (startsWith(bytes, 0x01, 0xdf) || startsWith(bytes, 0x01, 0xf7)) {
    return foreign("an XCOFF (AIX) file");
  }
  if (startsWith(bytes, 0x00, 0x00, 0x8a, 0x97)) {
    return foreign("a Plan 9 executable");
  }
  return undefined;
}

function otherFile(bytes: Uint8Array): LoadError {
  const linuxOnly = "goemu runs Linux ELF executables";
  if (startsWith(bytes, 0x21, 0x3c, 0x61, 0x72, 0x63, 0x68, 0x3e)) {
    return new LoadError("object", "is an ar archive (a library of objects), not an executable", "link it first");
  }
  if (isText(bytes.subarray(0, SNIFF_LENGTH))) {
    return new LoadError("text", "is a text file, not an executable", linuxOnly);
  }
  return new LoadError("not-elf", "is not an ELF file", linuxOnly);
}

function isText(bytes: Uint8Array): boolean {
  let end = bytes.length;
  // A multi-byte character that the sample cuts in two is no reason to call the file binary.
  while (end > 0 && bytes.length === SNIFF_LENGTH && end > bytes.length - 4 && (bytes[end - 1] & 0x80) !== 0) {
    end--;
  }
  const sample = bytes.subarray(0, end);
  for (const byte of sample) {
    const control = byte < 0x20 && !(byte >= 0x07 && byte <= 0x0d) && byte !== 0x1b;
    if (control || byte === 0x7f) {
      return false;
    }
  }
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(sample);
    return true;
  } catch {
    return false;
  }
}

function startsWith(bytes: Uint8Array, ...prefix: number[]): boolean {
  return bytes.length >= prefix.length && prefix.every((byte, index) => bytes[index] === byte);
}

/** `text` without control characters, so that a message stays one line and cannot steer a terminal. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\ufffd]/gu, "?");
}
