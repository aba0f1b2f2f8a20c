//! The probe: a boot sector that goes to 64-bit mode and says so through QEMU's debug-exit device.
//!
//! Long mode is where KVM that is only half there fails: it needs the processor's own page walks and mode switches.

use std::arch::global_asm;

/// The exit code of QEMU after the probe's report: twice the value written, and one.
pub(super) const EXIT_CODE: i32 = 2 * 0x2a + 1;

global_asm!(
    ".pushsection .rodata.nubium_probe, \"a\"",
    ".global nubium_probe_boot",
    "nubium_probe_boot:",
    ".code16",
    "cli",
    "xorw %ax, %ax",
    "movw %ax, %ds",
    "movw %ax, %es",
    "movw $0x1000, %di", // three tables of a page each, zeroed
    "movw $0x1800, %cx",
    "cld",
    "rep stosw",
    "movw $0x2003, 0x1000", // the first 2 MiB, mapped to themselves
    "movw $0x3003, 0x2000",
    "movw $0x0083, 0x3000",
    "movl $0x1000, %eax",
    "movl %eax, %cr3",
    "movl %cr4, %eax",
    "orl $0x20, %eax", // physical address extension
    "movl %eax, %cr4",
    "movl $0xc0000080, %ecx",
    "rdmsr",
    "orl $0x100, %eax", // long mode enable
    "wrmsr",
    "lgdtw 0x7c00 + (8f - nubium_probe_boot)",
    "movl %cr0, %eax",
    "orl $0x80000001, %eax", // paging and protection
    "movl %eax, %cr0",
    "ljmpw $8, $(0x7c00 + (6f - nubium_probe_boot))",
    ".code64",
    "6:",
    "movw $0xf4, %dx",
    "movb $0x2a, %al",
    "outb %al, %dx",
    "5:",
    "hlt",
    "jmp 5b",
    "7:",
    ".quad 0",
    ".quad 0x00209a0000000000", // 64-bit code
    "8:",
    ".word 15",
    ".long 0x7c00 + (7b - nubium_probe_boot)",
    ".org nubium_probe_boot + 510",
    ".word 0xaa55",
    ".code64",
    ".popsection",
    options(att_syntax)
);

/// The disk that boots the probe: its one sector, and room, for QEMU takes no smaller disk.
pub(super) fn boot_disk() -> Vec<u8> {
    unsafe extern "C" {
        static nubium_probe_boot: [u8; 512];
    }
    // SAFETY: the assembly above defines exactly 512 bytes of read-only data under that name.
    let sector = unsafe { &nubium_probe_boot };
    let mut disk = vec![0; 1024 * 1024];
    disk[..512].copy_from_slice(sector);
    disk
}
