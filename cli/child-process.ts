import { readSync, writeSync } from "node:fs";
import process from "node:process";
import type { Handover, HandoverDescriptor, Report } from "../host/handover.ts";
import type { InheritedStream } from "../host/host.ts";
import { NodeInherited } from "../host/node/host.ts";
import { NodeProcesses } from "../host/node/processes.ts";
import { pathToBytes } from "../syscalls/files/path.ts";
import type { ExitStatus } from "../syscalls/linux-process.ts";
import { CliError } from "./failure.ts";
import type { GuestOptions, Start } from "./guest.ts";

/** Runs a guest's children with a goemu each, with the options that this one was given. */
export function childProcesses(options: GuestOptions & { readonly cache?: boolean }): NodeProcesses {
  const given: [string, string | undefined][] = [
    ["--cpus", options.cpus],
    ["--cpu", options.cpu],
    ["--memory", options.memory],
    ["--address-space", options.addressSpace],
    ["--tier", options.tier],
    ["--sysroot", options.sysroot],
    ["--max-processes", options.maxProcesses],
  ];
  return new NodeProcesses({
    file: process.execPath,
    args: [
      ...process.execArgv,
      // Otherwise Node takes SIGUSR1 for itself before the guest can have it.
      "--disable-sigusr1",
      process.argv[1],
      "run",
      ...given.flatMap(([option, value]) => (value === undefined ? [] : [`${option}=${value}`])),
      ...(options.cache === false ? ["--no-cache"] : []),
      "--host-exec",
      "--handover",
    ],
  });
}

/** What a goemu was started for by another one. */
export class ChildProcess {
  readonly file: string;
  readonly start: Start;
  readonly inherited: readonly InheritedStream[];
  readonly #fd: number;

  /** @throws CliError if nothing sensible comes from the descriptor */
  constructor(option: string) {
    this.#fd = /^\d+$/.test(option) ? Number(option) : -1;
    const { file, name, argv, envp, descriptors, ignored, blocked } = readHandover(this.#fd);
    this.file = Buffer.from(file, "latin1").toString();
    this.start = {
      name: pathToBytes(name),
      argv: argv.map(pathToBytes),
      envp: envp.map(pathToBytes),
      signals: { ignored, blocked: BigInt(blocked) },
    };
    this.inherited = inheritedStreams(descriptors);
  }

  /** Tells how the guest ended, and ends this process in the same way. */
  end(status: ExitStatus): number {
    const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
    const report: Report = { status, usage: { userUs: userCPUTime, systemUs: systemCPUTime, maxRssKib: maxRSS } };
    try {
      writeSync(this.#fd, `${JSON.stringify(report)}\n`);
    } catch {
      // Whoever started it is gone.
    }
    return status.kind === "exited" ? status.status : 128 + status.signal;
  }
}

function readHandover(fd: number): Handover {
  const pieces: Buffer[] = [];
  const piece = Buffer.alloc(0x1_0000);
  try {
    for (;;) {
      const count = readSync(fd, piece, 0, piece.length, null);
      if (count === 0) break;
      pieces.push(Buffer.from(piece.subarray(0, count)));
      if (piece[count - 1] === 0x0a) return JSON.parse(Buffer.concat(pieces).toString()) as Handover;
    }
  } catch {
    // What is said below.
  }
  throw new CliError("--handover: is for goemu itself (name a program to run)");
}

function inheritedStreams(descriptors: readonly HandoverDescriptor[]): InheritedStream[] {
  const streams = descriptors.map(({ fd, as, pipe }): InheritedStream => {
    if (as !== undefined) return { fd, as };
    return { fd, stream: new NodeInherited(fd, pipe) };
  });
  for (let fd = 0; fd <= 2; fd++) if (!descriptors.some((each) => each.fd === fd)) streams.push({ fd });
  return streams;
}
