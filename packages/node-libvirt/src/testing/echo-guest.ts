/** Guests of one boot sector that talk on their first serial port; nothing else of an operating system is needed. */
import { writeFileSync } from "node:fs";

const SECTOR_BYTES = 512;
/** Line status and data register of COM1 (16550 UART). */
const [STATUS, DATA] = [0x3fd, 0x3f8];

/**
 * Writes a disk whose guest says `text` (at most 200 bytes) and then sends back every byte it gets, with one added to it: what
 * comes back was in the guest. Real-mode code at 0x7c00 (Intel 64 SDM volume 2 for the opcodes); jumps are counted from the
 * next instruction.
 */
export function writeEchoDisk(path: string, text: string): void {
  const code = [
    ...[0xfa, 0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xd0], // cli; cld; xor ax, ax; mov ds, ax; mov ss, ax
    ...[0xbc, 0x00, 0x7c], // mov sp, 0x7c00
    ...[0xbe, 0x00, 0x7d], // mov si, 0x7d00, where the text is
    ...[0xac, 0x84, 0xc0, 0x74, 0x05], // next: lodsb; test al, al; jz listen
    ...[0xe8, 0x14, 0x00, 0xeb, 0xf6], // call send; jmp next
    ...[0xba, STATUS & 0xff, STATUS >> 8], // listen: mov dx, status
    ...[0xec, 0xa8, 0x01, 0x74, 0xfb], // wait: in al, dx; test al, 1; jz wait
    ...[0xba, DATA & 0xff, DATA >> 8, 0xec, 0x40], // mov dx, data; in al, dx; inc ax
    ...[0xe8, 0x02, 0x00, 0xeb, 0xee], // call send; jmp listen
    ...[0x88, 0xc4, 0xba, STATUS & 0xff, STATUS >> 8], // send: mov ah, al; mov dx, status
    ...[0xec, 0xa8, 0x20, 0x74, 0xfb], // full: in al, dx; test al, 0x20; jz full
    ...[0xba, DATA & 0xff, DATA >> 8, 0x88, 0xe0, 0xee, 0xc3], // mov dx, data; mov al, ah; out dx, al; ret
  ];
  writeFileSync(path, sectorOf(code, text));
}

function sectorOf(code: readonly number[], text: string): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  sector.set(code);
  sector.set(new TextEncoder().encode(`${text}\0`), 0x100);
  sector.set([0x55, 0xaa], SECTOR_BYTES - 2);
  return sector;
}
