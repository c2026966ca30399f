// Numbers of the ELF format: System V gABI chapters 4 and 5, the x86-64 psABI, and Linux include/uapi/linux/elf.h.

export const ELF_HEADER_SIZE = 64;
export const PROGRAM_HEADER_SIZE = 56;
export const SECTION_HEADER_SIZE = 64;
export const SYMBOL_SIZE = 24;

export const ET_REL = 1;
export const ET_EXEC = 2;
export const ET_DYN = 3;
export const ET_CORE = 4;

export const EM_X86_64 = 62;

export const PT_LOAD = 1;
export const PT_DYNAMIC = 2;
export const PT_INTERP = 3;
export const PT_NOTE = 4;
export const PT_PHDR = 6;
export const PT_TLS = 7;
export const PT_GNU_EH_FRAME = 0x6474e550;
export const PT_GNU_STACK = 0x6474e551;
export const PT_GNU_RELRO = 0x6474e552;
export const PT_GNU_PROPERTY = 0x6474e553;

export const PF_X = 1;
export const PF_W = 2;
export const PF_R = 4;

export const SHT_SYMTAB = 2;
export const SHT_STRTAB = 3;
export const SHT_NOBITS = 8;
export const SHT_DYNSYM = 11;
export const SHF_WRITE = 1;
export const SHF_ALLOC = 2;
export const SHF_EXECINSTR = 4;
export const SHN_UNDEF = 0;
export const SHN_XINDEX = 0xffff;

export const STT_OBJECT = 1;
export const STT_FUNC = 2;

export const DT_NULL = 0;
export const DT_NEEDED = 1;
export const DT_PLTRELSZ = 2;
export const DT_HASH = 4;
export const DT_STRTAB = 5;
export const DT_SYMTAB = 6;
export const DT_RELA = 7;
export const DT_RELASZ = 8;
export const DT_RELAENT = 9;
export const DT_STRSZ = 10;
export const DT_SYMENT = 11;
export const DT_SONAME = 14;
export const DT_REL = 17;
export const DT_RELSZ = 18;
export const DT_JMPREL = 23;
export const DT_RELRSZ = 35;
export const DT_RELR = 36;
export const DT_VERSYM = 0x6ffffff0;
export const DT_FLAGS_1 = 0x6ffffffb;
export const DT_VERDEF = 0x6ffffffc;
export const DT_VERDEFNUM = 0x6ffffffd;
export const DF_1_PIE = 0x0800_0000;

export const R_X86_64_NONE = 0;
export const R_X86_64_RELATIVE = 8;

/** Names of e_machine values that a user may meet, for messages. */
export const MACHINE_NAMES: Readonly<Record<number, string>> = {
  2: "SPARC",
  3: "x86 (i386)",
  4: "Motorola 68000",
  8: "MIPS",
  20: "PowerPC",
  21: "PowerPC64",
  22: "IBM S/390",
  40: "ARM",
  42: "SuperH",
  43: "SPARC V9",
  50: "IA-64",
  62: "x86-64",
  183: "AArch64",
  189: "MicroBlaze",
  191: "TILE-Gx",
  243: "RISC-V",
  247: "eBPF",
  252: "C-SKY",
  258: "LoongArch",
  36902: "Alpha",
};

/** GOARCH for an e_machine value and byte order, to say which build is at hand. */
export const MACHINE_GOARCH: Readonly<Record<number, readonly [little: string, big: string]>> = {
  3: ["386", "386"],
  8: ["mipsle", "mips"],
  21: ["ppc64le", "ppc64"],
  22: ["s390x", "s390x"],
  40: ["arm", "armbe"],
  183: ["arm64", "arm64be"],
  243: ["riscv64", "riscv64"],
  258: ["loong64", "loong64"],
};

/** Names of EI_OSABI values other than System V (0) and GNU/Linux (3). */
export const OSABI_NAMES: Readonly<Record<number, string>> = {
  1: "HP-UX",
  2: "NetBSD",
  6: "Solaris",
  7: "AIX",
  8: "IRIX",
  9: "FreeBSD",
  10: "Tru64 UNIX",
  12: "OpenBSD",
  13: "OpenVMS",
  14: "NonStop Kernel",
  15: "AROS",
  17: "CloudABI",
};
