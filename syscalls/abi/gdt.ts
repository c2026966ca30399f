/**
 * Linux's global descriptor table on x86-64, as far as user mode can tell (arch/x86/include/asm/segment.h;
 * arch/x86/kernel/cpu/common.c, gdt_page): the kernel's code and data, those of 32-bit and 64-bit programs, the TSS (two
 * entries), no LDT (two entries), three entries for set_thread_area(2), which are empty, and the one whose limit is the
 * number of the CPU.
 */
export const LINUX_GDT: readonly bigint[] = [
  ...[0n, 0x00cf_9b00_0000_ffffn, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn],
  ...[0x00cf_fb00_0000_ffffn, 0x00cf_f300_0000_ffffn, 0x00af_fb00_0000_ffffn, 0n],
  ...[0x0000_8b00_0000_206fn, 0n, 0n, 0n, 0n, 0n, 0n, 0x0040_f500_0000_0000n],
];
