import type { AddressSpace } from "../emu/memory/address-space.ts";
import { GuestFault, type GuestMemory } from "../emu/memory/guest-memory.ts";
import { MemoryError } from "../emu/memory/memory-error.ts";
import type { Host, HostFile } from "../host/host.ts";
import type { FileSource } from "../loader/bytes.ts";
import { type Executable, LoadError, readExecutable } from "../loader/elf.ts";
import { printable } from "../loader/identify.ts";
import { type MapPlan, planImage } from "../loader/map.ts";
import { SyscallError } from "./abi/errno.ts";
import { O_RDONLY } from "./abi/fcntl.ts";
import { S_IFMT, S_IFREG } from "./abi/stat.ts";
import { textToPath } from "./files/path.ts";

/** An ELF file as it lies in the address space: the program's, or that of its interpreter. */
export interface Image {
  readonly executable: Executable;
  readonly plan: MapPlan;
  /** What /proc/self/maps says. */
  readonly path: string;
}

const STATIC_HINT = "name a folder that has it by --sysroot, or build the program with CGO_ENABLED=0";

/**
 * The program interpreter (ld.so) that a dynamically linked executable asks for (fs/binfmt_elf.c, load_elf_binary()).
 * @throws LoadError if it is not there, or nothing that can be run
 */
export function openInterpreter(host: Host, path: string): { executable: Executable; close: () => void } {
  const wants = `is dynamically linked, and its interpreter ${printable(path)}`;
  let file: HostFile;
  try {
    file = host.files.open(textToPath(path), O_RDONLY, 0);
    if ((file.stat().mode & S_IFMT) !== S_IFREG) throw new SyscallError("EACCES");
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const why = error.message === "ENOENT" ? "is not there" : `can't be opened (${error.message})`;
    throw new LoadError("dynamic", `${wants} ${why}`, STATIC_HINT);
  }
  try {
    const executable = readExecutable(sourceOf(file), path);
    if (executable.needsInterpreter) throw new LoadError("dynamic", "asks for an interpreter itself", STATIC_HINT);
    return { executable, close: () => file.close() };
  } catch (error) {
    file.close();
    if (!(error instanceof LoadError)) throw error;
    throw new LoadError("dynamic", `${wants} can't be run: it ${error.message}`, STATIC_HINT);
  }
}

/** An open file of the host as the loader reads it. What can't be read is as if it were behind the file's end. */
export function sourceOf(file: HostFile): FileSource {
  return {
    size: Number(file.stat().size),
    read(into, offset) {
      try {
        return file.read(into, offset);
      } catch (error) {
        if (error instanceof SyscallError) return 0;
        throw error;
      }
    },
  };
}

/** Plans an interpreter's mappings where mmap(2) would put it (fs/binfmt_elf.c, load_elf_interp()). */
export function planInterpreter(space: AddressSpace, executable: Executable): MapPlan {
  const { start, end } = planImage(executable, { base: PROBE_BASE });
  // planImage() puts the image at a multiple of its alignment at or below the base that it is given.
  const alignment = executable.segments.reduce((largest, { align }) => Math.max(largest, align), 0);
  const size = end - start + alignment;
  const free = space.map({ address: 0, length: size, prot: 0 });
  space.unmap(free, size);
  return planImage(executable, { base: free + alignment });
}

/** Any base that an image of any size fits at: only its size is asked for. */
const PROBE_BASE = 0x1000_0000;

/**
 * Maps an image (fs/binfmt_elf.c, elf_map(), set_brk(), padzero()).
 * @throws LoadError if it does not fit into guest memory, or its file can't be read
 */
export function mapImage(memory: GuestMemory, { executable, plan, path }: Image): void {
  const { space } = memory;
  const { file } = executable;
  const read = (into: Uint8Array, offset: number): number => file.read(into, offset);
  try {
    for (const mapping of plan.mappings) {
      const { address, length, prot, fileSize, isRelocated } = mapping;
      if (fileSize === 0) {
        space.map({ address, length, prot, fixed: true });
        continue;
      }
      const backing = isRelocated ? { path } : { path, read };
      space.map({ address, length, prot, fixed: true, backing, offset: mapping.fileOffset });
      // The rest of the last page is zero, whatever the file has there (padzero()).
      if (isRelocated) memory.poke(address, mapping.bytes);
      else if (fileSize < length) memory.poke(address + fileSize, new Uint8Array(length - fileSize));
    }
    for (const { address, length, prot } of plan.protections) space.protect(address, length, prot);
    if (space.accessibleBytes > space.limit) throw new MemoryError("ENOMEM");
  } catch (error) {
    if (error instanceof GuestFault) {
      throw new LoadError("truncated", "can't be read to its end", "the file was cut short: build or copy it again");
    }
    if (!(error instanceof MemoryError)) throw error;
    throw new LoadError(
      "segments",
      "its segments don't fit into guest memory",
      "link it at a lower address, or raise --memory",
    );
  }
}
