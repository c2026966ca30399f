import { writeSync } from "node:fs";
import type { Command } from "commander";
import { disasm, info, type Print, symbols, syscalls } from "./inspect.ts";

/** Adds the commands that look at files: info, disasm, symbols, and the list of system calls. */
export function addInspectCommands(program: Command, about: { file?: string }): void {
  const inspect = (name: string, description: string): Command =>
    program.command(name).description(description).exitOverride().option("--json", "print JSON");
  inspect("info", "what a file is: entry, sections, Go version, build settings, whether goemu can run it")
    .argument("<file>")
    .action((file: string, options: { json?: boolean }) =>
      withOutput(about, file, (print) => info(file, options, print)),
    );
  inspect("disasm", "disassemble a function or a range")
    .argument("<file>")
    .argument("[place]", "SYMBOL or ADDRESS, with ,LENGTH if need be (default: the entry point)")
    .option("--syntax <SYNTAX>", "gas, intel or go", "gas")
    .action((file: string, place: string | undefined, options: { syntax: string; json?: boolean }) =>
      withOutput(about, file, (print) => disasm(file, place, options, print)),
    );
  inspect("symbols", "list functions, in stripped files too")
    .argument("<file>")
    .argument("[regex]")
    .action((file: string, regex: string | undefined, options: { json?: boolean }) =>
      withOutput(about, file, (print) => symbols(file, regex, options, print)),
    );
  inspect("syscalls", "list the system calls that are there").action((options: { json?: boolean }) =>
    withOutput(about, undefined, (print) => syscalls(options, print)),
  );
}

/** Collects lines and writes them at once; a reader that goes away early is no error. */
function withOutput(about: { file?: string }, file: string | undefined, produce: (print: Print) => void): void {
  about.file = file;
  let pending: string[] = [];
  const flush = (): void => {
    if (pending.length === 0) return;
    const bytes = new TextEncoder().encode(`${pending.join("\n")}\n`);
    pending = [];
    for (let done = 0; done < bytes.length; ) {
      try {
        done += writeSync(1, bytes, done);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== "EAGAIN") throw error;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      }
    }
  };
  try {
    produce((line) => {
      pending.push(line);
      if (pending.length >= 4096) flush();
    });
    flush();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPIPE") throw error;
  }
}
