import { isNull, SEGMENT_REGISTER } from "../../emu/cpu/segments.ts";
import { MXCSR_DEFAULT, REG, STATE } from "../../emu/cpu/state.ts";
import { fxsaveImage, setFxsaveImage } from "../../emu/cpu/x87/state.ts";
import {
  COMPONENT,
  componentBytes,
  componentsInUse,
  EXTENDED_COMPONENTS,
  initialX87,
  setComponent,
  xcr0Of,
  xsaveBytes,
} from "../../emu/cpu/xsave.ts";
import { SA_ONSTACK, SIGNAL, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK } from "../abi/signals.ts";
import type { LinuxProcess } from "../linux-process.ts";
import type { LinuxThread } from "../linux-thread.ts";
import { SIGINFO_SIZE, type SignalInfo, writeSigInfo } from "./info.ts";
import type { SignalAction } from "./state.ts";

/**
 * The signal frame (arch/x86/include/asm/sigframe.h, struct rt_sigframe; arch/x86/kernel/signal_64.c): return address,
 * ucontext, siginfo, and above them the floating-point state. Go's runtime reads and edits it.
 */
const UCONTEXT = 8;
const SIGCONTEXT = UCONTEXT + 40;
const SIGMASK = SIGCONTEXT + 256;
const SIGINFO = SIGMASK + 8;
const FRAME_SIZE = SIGINFO + SIGINFO_SIZE;

/** Registers in struct sigcontext from offset 0 on (arch/x86/include/uapi/asm/sigcontext.h), 8 bytes each. */
const CONTEXT_ORDER = [
  REG.R8,
  REG.R9,
  REG.R10,
  REG.R11,
  REG.R12,
  REG.R13,
  REG.R14,
  REG.R15,
  REG.RDI,
  REG.RSI,
  REG.RBP,
  REG.RBX,
  REG.RDX,
  REG.RAX,
  REG.RCX,
  REG.RSP,
] as const;
const CTX = { rip: 128, eflags: 136, cs: 144, err: 152, trapno: 160, oldmask: 168, cr2: 176, fpstate: 184 } as const;

/** EFLAGS.RF. */
const RESUME_FLAG = 0x1_0000n;

/** CS 0x33, GS 0, FS 0, SS 0x2b as four u16. */
const SELECTORS = 0x002b_0000_0000_0033n;
/** UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS. */
const UC_FLAGS = 7n;
const UC_STRICT_RESTORE_SS = 4;

/** The FXSAVE image; behind it the XSAVE header (64 bytes) and the extended region (SDM Vol. 1, 13.4). */
const FXSAVE_SIZE = 512;
const HEADER_SIZE = 64;
/** Software bytes of the FXSAVE image: struct _fpx_sw_bytes, and FP_XSTATE_MAGIC2 behind the image. */
const SW_BYTES = 464;
const MAGIC1 = 0x4650_5853;
const MAGIC2 = 0x4650_5845;
const MXCSR_MASK = 0xffff;

type Features = ReadonlySet<string>;

/** The components that a frame has; those of AVX also on processors without it. */
const componentsOf = (features: Features): number => xcr0Of(features) | COMPONENT.avx;
const imageSize = (features: Features): number => xsaveBytes(componentsOf(features));

/** Size of the largest frame with its alignment: AT_MINSIGSTKSZ. */
export const signalFrameBytes = (features: Features): number => FRAME_SIZE + imageSize(features) + 4 + 64 + 16 + 128;

/** Is the stack pointer on the thread's alternate stack? */
export function onAlternateStack(thread: LinuxThread): boolean {
  const { address, size, flags } = thread.alternateStack;
  const rsp = Number(thread.cpu.gpr[REG.RSP]);
  return !(flags & (SS_DISABLE | SS_AUTODISARM)) && rsp > address && rsp <= address + size;
}

/**
 * Makes a thread enter a signal handler: saves its state on the stack and sets the registers (Linux: setup_rt_frame).
 * @throws GuestFault if the stack can't hold the frame
 */
export function enterHandler(
  process: LinuxProcess,
  thread: LinuxThread,
  info: SignalInfo,
  action: SignalAction,
  returnMask: bigint,
): void {
  const { memory } = process;
  const { cpu, alternateStack } = thread;
  let top = Number(cpu.gpr[REG.RSP]) - 128;
  const usable = !(alternateStack.flags & SS_DISABLE) && alternateStack.size > 0;
  if (action.flags & SA_ONSTACK && usable && !onAlternateStack(thread)) {
    top = alternateStack.address + alternateStack.size;
  }
  const fpstate = Math.floor((top - (imageSize(process.features) + 4)) / 64) * 64;
  const frame = Math.floor((fpstate - FRAME_SIZE) / 16) * 16 - 8;

  const bytes = new Uint8Array(SIGMASK + 8);
  const view = new DataView(bytes.buffer);
  const put = (offset: number, value: bigint | number): void =>
    view.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true);
  put(0, action.restorer);
  put(UCONTEXT, UC_FLAGS);
  put(UCONTEXT + 16, alternateStack.address);
  put(UCONTEXT + 24, alternateStack.flags | (onAlternateStack(thread) ? SS_ONSTACK : 0));
  put(UCONTEXT + 32, alternateStack.size);
  for (const [i, register] of CONTEXT_ORDER.entries()) put(SIGCONTEXT + i * 8, cpu.gpr[register]);
  put(SIGCONTEXT + CTX.rip, cpu.rip64);
  put(SIGCONTEXT + CTX.eflags, cpu.rflags | (info.resume ? RESUME_FLAG : 0n));
  put(SIGCONTEXT + CTX.cs, SELECTORS);
  put(SIGCONTEXT + CTX.err, thread.lastTrap.error);
  put(SIGCONTEXT + CTX.trapno, thread.lastTrap.trap);
  put(SIGCONTEXT + CTX.oldmask, returnMask);
  put(SIGCONTEXT + CTX.cr2, thread.cr2);
  put(SIGCONTEXT + CTX.fpstate, fpstate);
  put(SIGMASK, returnMask);
  memory.writeBytes(fpstate, saveFloatingPoint(process, thread));
  memory.writeBytes(frame, bytes);
  writeSigInfo(memory, frame + SIGINFO, info);
  if (alternateStack.flags & SS_AUTODISARM) thread.alternateStack = { address: 0, size: 0, flags: SS_DISABLE };

  cpu.gpr[REG.RDI] = BigInt(info.signal);
  cpu.gpr[REG.RSI] = BigInt(frame + SIGINFO);
  cpu.gpr[REG.RDX] = BigInt(frame + UCONTEXT);
  cpu.gpr[REG.RAX] = 0n;
  cpu.gpr[REG.RSP] = BigInt(frame);
  cpu.rip64 = action.handler;
  // DF, RF and TF are clear in the handler; what it computes with is as at the start of a program.
  cpu.rflags &= ~0x1_0500n;
  resetFloatingPoint(thread);
  // The kernel returns by IRET, which makes null selectors zero (SDM Vol. 2A, IRET).
  for (const register of DATA_SEGMENTS) if (isNull(cpu.selector(register))) cpu.setSelector(register, 0);
}

const { ES, DS, FS, GS } = SEGMENT_REGISTER;
const DATA_SEGMENTS = [ES, DS, FS, GS];

/** The XSAVE image of a thread, with the marks by which rt_sigreturn and user code know its size. */
function saveFloatingPoint({ features }: LinuxProcess, { cpu }: LinuxThread): Uint8Array {
  const components = componentsOf(features);
  const size = imageSize(features);
  const bytes = new Uint8Array(size + 4);
  const view = new DataView(bytes.buffer);
  bytes.set(fxsaveImage(cpu));
  view.setUint32(24, cpu.mxcsr, true);
  view.setUint32(28, MXCSR_MASK, true);
  for (let i = 0; i < 16; i++) bytes.set(cpu.vector(i).subarray(0, 16), 160 + i * 16);
  for (const component of EXTENDED_COMPONENTS) {
    if (components & component.bit) bytes.set(componentBytes(cpu, component), component.offset);
  }
  view.setUint32(SW_BYTES, MAGIC1, true);
  view.setUint32(SW_BYTES + 4, size + 4, true);
  view.setBigUint64(SW_BYTES + 8, BigInt(components), true);
  view.setUint32(SW_BYTES + 16, size, true);
  // What is in its initial configuration is not marked, but for x87 and SSE (save_xstate_epilog).
  view.setBigUint64(FXSAVE_SIZE, BigInt((componentsInUse(cpu) & components) | X87 | SSE), true);
  view.setUint32(size, MAGIC2, true);
  return bytes;
}

/** State components (SDM Vol. 1, 13.1). */
const { x87: X87, sse: SSE } = COMPONENT;

/** A frame that rt_sigreturn(2) does not take: SIGSEGV. */
export class BadFrame extends Error {}

/**
 * Takes the floating-point state back from a frame. A component that the image says is not there becomes its initial
 * configuration (Linux: arch/x86/kernel/fpu/signal.c, fpu__restore_sig).
 * @throws GuestFault, BadFrame for what XRSTOR would refuse with #GP (SDM Vol. 1, 13.8)
 */
function restoreFloatingPoint(process: LinuxProcess, thread: LinuxThread, address: number): void {
  const { cpu } = thread;
  // XRSTOR wants it aligned; so does FXRSTOR, to less.
  if (address % 64 !== 0) throw new BadFrame();
  const image = process.memory.readBytes(address, FXSAVE_SIZE);
  const view = new DataView(image.buffer);
  const components = componentsOf(process.features);
  const marked = markedComponents(process, address, view);
  const wanted = marked === undefined ? X87 | SSE : Number(marked & BigInt(components));
  let present = wanted;
  if (marked !== undefined) {
    const header = process.memory.readBytes(address + FXSAVE_SIZE, HEADER_SIZE);
    const found = new DataView(header.buffer).getBigUint64(0, true);
    if (found & ~BigInt(components) || header.subarray(8, 24).some((byte) => byte !== 0)) throw new BadFrame();
    present = Number(found) & wanted;
  }
  const mxcsr = view.getUint32(24, true);
  const loadsMxcsr = (wanted & (SSE | COMPONENT.avx)) !== 0;
  if (loadsMxcsr && mxcsr & ~MXCSR_MASK) throw new BadFrame();
  const upper = EXTENDED_COMPONENTS.filter(({ bit }) => components & bit).map((component) => ({
    component,
    bytes: present & component.bit ? process.memory.readBytes(address + component.offset, component.size) : undefined,
  }));
  setFxsaveImage(cpu, present & X87 ? image : initialX87());
  cpu.mxcsr = loadsMxcsr ? mxcsr : MXCSR_DEFAULT;
  for (let i = 0; i < 16; i++) {
    const vector = cpu.vector(i);
    vector.fill(0, 0, 16);
    if (present & SSE) vector.set(image.subarray(160 + i * 16, 176 + i * 16));
  }
  for (const { component, bytes } of upper) setComponent(cpu, component, bytes);
}

/**
 * The components that an image's software bytes name, if they say that it has a header (Linux: check_xstate_in_sigframe).
 * @throws GuestFault
 */
function markedComponents(process: LinuxProcess, address: number, view: DataView): bigint | undefined {
  const [extended, size] = [view.getUint32(SW_BYTES + 4, true), view.getUint32(SW_BYTES + 16, true)];
  if (view.getUint32(SW_BYTES, true) !== MAGIC1) return undefined;
  if (size < FXSAVE_SIZE + HEADER_SIZE || size > imageSize(process.features) || size > extended) return undefined;
  if (process.memory.readU32(address + size) !== MAGIC2) return undefined;
  return view.getBigUint64(SW_BYTES + 8, true);
}

/** All floating-point and vector state as at the start of a program (Linux: fpu__clear_user_states). */
function resetFloatingPoint({ cpu }: LinuxThread): void {
  setFxsaveImage(cpu, initialX87());
  cpu.mxcsr = MXCSR_DEFAULT;
  cpu.u8.fill(0, STATE.vector, STATE.opmask + 64);
}

/** What of EFLAGS a frame can set; the others stay (arch/x86/kernel/signal.c, FIX_EFLAGS). */
const RESTORED_FLAGS = 0x4_0dd5n;

/**
 * rt_sigreturn(2): takes the state back from the frame that the stack pointer stands behind, in the kernel's order: what
 * came before that which can't be taken stays.
 * @throws GuestFault if the frame can't be read, BadFrame
 */
export function returnFromHandler(process: LinuxProcess, thread: LinuxThread): void {
  const { memory } = process;
  const { cpu } = thread;
  const frame = Number(cpu.gpr[REG.RSP]) - 8;
  const view = new DataView(memory.readBytes(frame, SIGMASK + 8).buffer);
  const get = (offset: number): bigint => view.getBigUint64(offset, true);
  thread.signalMask = get(SIGMASK) & ~UNBLOCKABLE;
  const flags = Number(get(UCONTEXT + 24) & 0xffff_ffffn);
  // By the handler's stack pointer (since Linux 6.12).
  if (!onAlternateStack(thread)) {
    thread.alternateStack = {
      address: Number(get(UCONTEXT + 16)),
      size: Number(get(UCONTEXT + 32)),
      flags: flags & (SS_DISABLE | SS_AUTODISARM),
    };
  }
  for (const [i, register] of CONTEXT_ORDER.entries()) cpu.gpr[register] = get(SIGCONTEXT + i * 8);
  cpu.rip64 = get(SIGCONTEXT + CTX.rip);
  cpu.rflags = (cpu.rflags & ~RESTORED_FLAGS) | (get(SIGCONTEXT + CTX.eflags) & RESTORED_FLAGS);
  const fpstate = Number(get(SIGCONTEXT + CTX.fpstate));
  try {
    if (fpstate !== 0) restoreFloatingPoint(process, thread, fpstate);
    else resetFloatingPoint(thread);
  } catch (error) {
    resetFloatingPoint(thread);
    throw error;
  }
  requireSelectors(get(SIGCONTEXT + CTX.cs), Number(get(UCONTEXT)));
}

/** Behind all that, the kernel's IRET finds selectors that user mode can't have. */
export class BadSelector extends Error {
  /** The error code of its #GP. */
  readonly error: number;

  constructor(selector: number) {
    super("a frame's selector is none of user mode's");
    this.error = selector & 0xfffc;
  }
}

/** @param flags uc_flags: without UC_STRICT_RESTORE_SS an SS that can't be loaded is put right (force_valid_ss) */
function requireSelectors(selectors: bigint, flags: number): void {
  const code = Number(selectors & 0xffffn) | 3;
  const stack = Number(selectors >> 48n) | 3;
  if (code !== Number(SELECTORS & 0xffffn)) throw new BadSelector(code);
  if (flags & UC_STRICT_RESTORE_SS && stack !== Number(SELECTORS >> 48n)) throw new BadSelector(stack);
}

/** SIGKILL and SIGSTOP can't be blocked. */
export const UNBLOCKABLE = (1n << BigInt(SIGNAL.SIGKILL - 1)) | (1n << BigInt(SIGNAL.SIGSTOP - 1));
