import { realpathSync, statSync } from "node:fs";
import process from "node:process";
import type { Command } from "commander";
import { CliError } from "./failure.ts";

const collect = (value: string, before: string[]): string[] => [...before, value];

/** The options of every command that runs a program (GuestOptions). */
export function addGuestOptions(command: Command): Command {
  return command
    .option("-E, --env <NAME=VALUE>", "set a variable of the guest's environment (may be repeated)", collect, [])
    .option("--clear-env", "start from an empty environment instead of the host's")
    .option("--cpus <N>", "CPUs that the guest sees (default: the host's)")
    .option("--cpu <MODEL>", "x86-64-v1 to v4, or features to drop, like -sse4_2 (default: x86-64-v3)")
    .option("--max-processes <N>", "most processes at a time; more are refused with EAGAIN (default: 4096)")
    .option(
      "--host-exec",
      "run what the guest executes on the host, in processes of their own: natively if it can't be static",
    )
    .option("--memory <SIZE>", "most memory for the guest, like 512M or 8G")
    .option("--address-space <LAYOUT>", "compact, or linux: the addresses that Linux would give; slower", "compact")
    .option(
      "--sysroot <DIR>",
      "where absolute paths are looked up first: a folder with the dynamic linker and libraries (default: $GOEMU_SYSROOT)",
    );
}

/**
 * The folder that `--sysroot` or GOEMU_SYSROOT names, without symbolic links; undefined if neither is there.
 * @throws CliError if it is no folder
 */
export function sysrootOf(option: string | undefined): string | undefined {
  const given = option ?? process.env.GOEMU_SYSROOT;
  if (given === undefined || given === "") return undefined;
  const name = option === undefined ? "GOEMU_SYSROOT" : "--sysroot";
  try {
    if (statSync(given).isDirectory()) return realpathSync(given);
  } catch (error) {
    throw new CliError(`${name}: ${given}: ${(error as NodeJS.ErrnoException).code} (name a folder)`);
  }
  throw new CliError(`${name}: ${given} is not a directory (name a folder)`);
}
