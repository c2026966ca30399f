import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { CliError } from "./failure.ts";

/** `run` may be left out: everything that names no command is a program to run. */
export function withRunCommand(args: readonly string[], commands: ReadonlySet<string>): string[] {
  const [first] = args;
  const own = first === undefined || ["-h", "--help", "-v", "--version"].includes(first) || commands.has(first);
  return own ? [...args] : ["run", ...args];
}

/**
 * Gives options with an optional value theirs: `--strace` alone must not take the program's name for one, so it becomes
 * `--strace=`. Stops at the program's name: what follows is the guest's.
 */
export function fillOptionalValues(args: readonly string[], command: Command): string[] {
  const out = [...args];
  for (let i = 1; i < out.length && out[i].startsWith("-") && out[i] !== "--" && out[i] !== "-"; i++) {
    const flag = out[i].split("=")[0];
    const option = command.options.find(({ short, long }) => short === flag || long === flag);
    if (option === undefined || out[i].includes("=")) continue;
    if (option.optional) out[i] = `${flag}=`;
    else if (option.required && (option.long === flag || option.short === out[i])) i++;
  }
  return out;
}

/** A size with an optional K, M, G or T (powers of 1024). */
export function parseSize(text: string): number {
  const match = /^(\d+)([KMGT]?)i?B?$/i.exec(text);
  if (match === null) throw new CliError(`--memory: "${text}" is no size (write 512M or 2G, for instance)`);
  const scale = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }[match[2].toUpperCase()] ?? 1;
  return Number(match[1]) * scale;
}

/** What `--memory` allows, which can't be more than there is. @param available bytes that the host has */
export function memoryLimit(text: string, available: number): number {
  const limit = parseSize(text);
  if (limit <= available) return limit;
  const most = Math.floor(available / 2 ** 20);
  throw new CliError(
    `--memory: ${text} is more than the ${most} MiB that this machine has (use at most --memory ${most}M)`,
  );
}

export function parseCount(option: string, text: string, most: number): number {
  const count = /^\d+$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > most) throw new CliError(`${option}: "${text}" is no number from 1 to ${most}`);
  return count;
}

/** One of a few words. */
export function parseChoice<T extends string>(option: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) throw new CliError(`${option}: "${text}" is unknown (use ${choices.join(" or ")})`);
  return found;
}

/** Bytes between NULs of a /proc file; undefined where there is no such file. */
function procStrings(path: string): Uint8Array[] | undefined {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch {
    return undefined;
  }
  const strings: Uint8Array[] = [];
  let start = 0;
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== 0) continue;
    strings.push(bytes.subarray(start, i));
    start = i + 1;
  }
  return strings;
}

const utf8 = new TextEncoder();

/** The last `args.length` arguments as bytes: Node's strings have lost what was not UTF-8. */
export function rawArguments(args: readonly string[]): Uint8Array[] {
  const encoded = args.map((arg) => utf8.encode(arg));
  if (!args.some((arg) => arg.includes("\ufffd"))) return encoded;
  const raw = args.length === 0 ? [] : (procStrings("/proc/self/cmdline")?.slice(-args.length) ?? encoded);
  return raw.length === args.length ? raw : encoded;
}

/** The guest's environment: the host's, or nothing, with what -E sets. */
export function buildEnvironment(set: readonly string[], clear: boolean): Uint8Array[] {
  const names = new Map<string, Uint8Array>();
  const host = clear ? [] : (procStrings("/proc/self/environ") ?? environmentOfNode());
  const latin1 = new TextDecoder("latin1");
  for (const entry of host) names.set(latin1.decode(entry.subarray(0, Math.max(0, entry.indexOf(0x3d)))), entry);
  for (const assignment of set) {
    const equals = assignment.indexOf("=");
    if (equals <= 0) throw new CliError(`-E: "${assignment}" is not NAME=VALUE`);
    const bytes = utf8.encode(assignment);
    names.set(latin1.decode(bytes.subarray(0, bytes.indexOf(0x3d))), bytes);
  }
  return [...names.values()];
}

function environmentOfNode(): Uint8Array[] {
  return Object.entries(process.env).map(([name, value]) => utf8.encode(`${name}=${value}`));
}
