// Files for tests of the command: a folder of their own, gone afterwards.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Assembler } from "../../syscalls/testing/assembler.ts";
import { buildGuest } from "../../syscalls/testing/guest.ts";

export class TestFolder {
  readonly path = mkdtempSync(join(tmpdir(), "goemu-cli-"));

  /** Writes a file and gives its path. */
  file(name: string, contents: string | Uint8Array): string {
    const path = join(this.path, name);
    writeFileSync(path, contents, { mode: 0o755 });
    return path;
  }

  /** Writes a guest made of a few instructions. */
  guest(name: string, build: (a: Assembler) => void): string {
    return this.file(name, buildGuest(build).elf);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
