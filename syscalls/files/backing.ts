import type { Backing } from "../../emu/memory/vma.ts";
import type { FileStat } from "../abi/stat.ts";
import type { Mappable } from "./description.ts";

/** The file behind a mapping made by mmap(2), as /proc/self/maps shows it. */
export class FileBacking implements Backing {
  /** A byte string. */
  readonly path: string;
  readonly stat: FileStat;
  readonly file: Mappable;

  constructor(file: Mappable) {
    this.file = file;
    this.path = file.path;
    this.stat = file.stat();
  }
}
