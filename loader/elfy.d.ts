// Types of elfy 1.0.0, which ships none. Only what the loader reads is declared.
declare module "elfy" {
  /** Flag names, or the bit's value in decimal where elfy has no name for it. */
  type Flags = Record<string, true>;

  interface Program {
    /** A name of `constants.entryType`; undefined for types that elfy does not know. */
    type: string | undefined;
    offset: number;
    vaddr: number;
    paddr: number;
    filesz: number;
    memsz: number;
    flags: Flags;
    align: number;
    data: Buffer;
  }

  interface Section {
    name: string;
    /** A name of `constants.sectType`, or the number where elfy has no name for it. */
    type: string | number;
    flags: Flags;
    addr: number;
    off: number;
    size: number;
    link: number;
    info: number;
    data: Buffer;
  }

  interface Elf {
    entry: number;
    phoff: number;
    shoff: number;
    phnum: number;
    shnum: number;
    body: { programs: Program[]; sections: Section[] };
  }

  const elfy: {
    /** Throws plain Errors, AssertionErrors and RangeErrors on what it cannot read. */
    parse(file: Buffer): Elf;
  };
  export default elfy;
}
