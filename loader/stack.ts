/** The auxiliary vector's tags (Linux include/uapi/linux/auxvec.h, arch/x86/include/uapi/asm/auxvec.h). */
export const AT_NULL = 0;
export const AT_PHDR = 3;
export const AT_PHENT = 4;
export const AT_PHNUM = 5;
export const AT_PAGESZ = 6;
export const AT_BASE = 7;
export const AT_FLAGS = 8;
export const AT_ENTRY = 9;
export const AT_UID = 11;
export const AT_EUID = 12;
export const AT_GID = 13;
export const AT_EGID = 14;
export const AT_PLATFORM = 15;
export const AT_HWCAP = 16;
export const AT_CLKTCK = 17;
export const AT_SECURE = 23;
export const AT_RANDOM = 25;
export const AT_HWCAP2 = 26;
export const AT_EXECFN = 31;
export const AT_SYSINFO_EHDR = 33;
export const AT_MINSIGSTKSZ = 51;

/** One auxiliary vector entry. A value of up to 53 bits may be given as a number. */
export type AuxEntry = readonly [tag: number, value: number | bigint];

export interface AuxvOptions {
  /** Address of the vDSO's ELF header; undefined leaves AT_SYSINFO_EHDR out, as a kernel without a vDSO does. */
  readonly sysinfoEhdr?: number | undefined;
  /** CPUID leaf 1 EDX (arch/x86/include/asm/elf.h, ELF_HWCAP). */
  readonly hwcap: number;
  /** Bit 1: FSGSBASE instructions may be used (ELF_HWCAP2). */
  readonly hwcap2: number;
  readonly programHeaders: number;
  readonly programHeaderSize: number;
  readonly programHeaderCount: number;
  /** Load address of the interpreter, 0 for none. */
  readonly base: number;
  readonly entry: number;
  readonly uid: number;
  readonly euid: number;
  readonly gid: number;
  readonly egid: number;
  /** Whether the program gained privileges by being executed. */
  readonly secure: boolean;
  /** The least signal stack that MINSIGSTKSZ promises, in bytes: the signal frame with the CPU's xstate. */
  readonly minSignalStackSize: number;
}

/**
 * The auxiliary vector in the order in which Linux's create_elf_tables() (fs/binfmt_elf.c, with x86's ARCH_DLINFO)
 * writes it. AT_RANDOM, AT_EXECFN and AT_PLATFORM are 0 here: buildInitialStack() fills them in.
 */
export function buildAuxv(options: AuxvOptions): AuxEntry[] {
  const vdso: AuxEntry[] = options.sysinfoEhdr === undefined ? [] : [[AT_SYSINFO_EHDR, options.sysinfoEhdr]];
  return [
    ...vdso,
    [AT_MINSIGSTKSZ, options.minSignalStackSize],
    [AT_HWCAP, options.hwcap],
    [AT_PAGESZ, 4096],
    [AT_CLKTCK, 100],
    [AT_PHDR, options.programHeaders],
    [AT_PHENT, options.programHeaderSize],
    [AT_PHNUM, options.programHeaderCount],
    [AT_BASE, options.base],
    [AT_FLAGS, 0],
    [AT_ENTRY, options.entry],
    [AT_UID, options.uid],
    [AT_EUID, options.euid],
    [AT_GID, options.gid],
    [AT_EGID, options.egid],
    [AT_SECURE, options.secure ? 1 : 0],
    [AT_RANDOM, 0],
    [AT_HWCAP2, options.hwcap2],
    [AT_EXECFN, 0],
    [AT_PLATFORM, 0],
    [AT_NULL, 0],
  ];
}

export interface InitialStackOptions {
  /** Byte strings without their terminating NUL. */
  readonly argv: readonly Uint8Array[];
  readonly envp: readonly Uint8Array[];
  /** From buildAuxv(); must end with AT_NULL. */
  readonly auxv: readonly AuxEntry[];
  /** The path that was executed, without NUL: AT_EXECFN. */
  readonly execfn: Uint8Array;
  /** AT_PLATFORM's string, "x86_64" on this machine. */
  readonly platform: string;
  /** The 16 bytes of AT_RANDOM. */
  readonly random: Uint8Array;
  /** The address past the stack's last byte: a multiple of 16. */
  readonly stackTop: number;
  /** Bytes left free below the strings; by default none (Linux, with randomisation: arch_align_stack(), up to 8192). */
  readonly gap?: number;
}

export interface InitialStack {
  /** What to copy to `address`; ends at the stack's top. */
  readonly bytes: Uint8Array;
  /** Same as `sp`: the address of argc. A multiple of 16, as the psABI asks for (3.4.1). */
  readonly address: number;
  readonly sp: number;
  /** First and last-plus-one addresses of the argument and environment strings, as in /proc/PID/stat. */
  readonly argStart: number;
  readonly argEnd: number;
  readonly envStart: number;
  readonly envEnd: number;
}

/** Linux include/uapi/linux/binfmts.h: one string may have MAX_ARG_STRLEN bytes with its NUL. */
export const MAX_ARG_STRLEN = 131_072;

/**
 * The stack that a new program finds, byte for byte as Linux lays it out without address randomisation: from the top,
 * 8 zero bytes, execfn, the environment's strings, the arguments' strings (fs/exec.c copy_strings()); then down to a
 * multiple of 16, the platform string and the random bytes; then, at a multiple of 16, argc, argv, envp and the
 * auxiliary vector (fs/binfmt_elf.c create_elf_tables()).
 * @throws RangeError for a string that holds a NUL or is longer than MAX_ARG_STRLEN (execve's E2BIG), wrong sizes, or
 * an auxiliary vector without its end.
 */
export function buildInitialStack(options: InitialStackOptions): InitialStack {
  const { argv, envp, auxv, execfn, random, stackTop } = options;
  checkOptions(options);
  const size = (strings: readonly Uint8Array[]) => strings.reduce((sum, { length }) => sum + length + 1, 0);
  const execfnAt = stackTop - 8 - (execfn.length + 1);
  const envStart = execfnAt - size(envp);
  const argStart = envStart - size(argv);
  const platform = new TextEncoder().encode(options.platform);
  const platformAt = Math.floor((argStart - (options.gap ?? 0)) / 16) * 16 - (platform.length + 1);
  const randomAt = platformAt - 16;
  const words = 1 + argv.length + 1 + envp.length + 1 + auxv.length * 2;
  const sp = Math.floor((Math.floor(randomAt / 16) * 16 - words * 8) / 16) * 16;

  const bytes = new Uint8Array(stackTop - sp);
  const view = new DataView(bytes.buffer);
  let at = 0;
  const word = (value: number | bigint) => {
    view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
    at += 8;
  };
  const strings = (list: readonly Uint8Array[], start: number) => {
    let address = start;
    for (const string of list) {
      word(address);
      bytes.set(string, address - sp);
      address += string.length + 1;
    }
    word(0);
  };
  word(argv.length);
  strings(argv, argStart);
  strings(envp, envStart);
  const filled = new Map([
    [AT_RANDOM, randomAt],
    [AT_EXECFN, execfnAt],
    [AT_PLATFORM, platformAt],
  ]);
  for (const [tag, value] of auxv) {
    word(tag);
    word(filled.get(tag) ?? value);
  }
  bytes.set(random, randomAt - sp);
  bytes.set(platform, platformAt - sp);
  bytes.set(execfn, execfnAt - sp);
  return { bytes, address: sp, sp, argStart, argEnd: envStart, envStart, envEnd: execfnAt };
}

function checkOptions({ argv, envp, auxv, execfn, random, stackTop }: InitialStackOptions): void {
  for (const string of [...argv, ...envp, execfn]) {
    if (string.includes(0)) {
      throw new RangeError("an argument or environment string holds a NUL byte");
    }
    if (string.length >= MAX_ARG_STRLEN) {
      throw new RangeError(`an argument or environment string of ${string.length} bytes is too long`);
    }
  }
  if (random.length !== 16 || stackTop % 16 !== 0) {
    throw new RangeError("AT_RANDOM takes 16 bytes, and the stack's top is a multiple of 16");
  }
  if (auxv.at(-1)?.[0] !== AT_NULL) {
    throw new RangeError("the auxiliary vector must end with AT_NULL");
  }
}
