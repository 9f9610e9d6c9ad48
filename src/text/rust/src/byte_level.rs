//! GPT-2's printable stand-ins for bytes: one character per byte, so that a vocabulary holds only printable text.

/// The byte that a character stands for.
pub fn byte_of(character: char) -> Option<u8> {
    let code = character as u32;
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(code as u8),
        // The other bytes, in order, follow from 256 on.
        0x100..=0x120 => Some((code - 0x100) as u8), // 0 to 32
        0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8), // 127 to 160
        0x143 => Some(0xad),
        _ => None,
    }
}

/// Appends the bytes of a token. Characters that stand for no byte are kept as they are.
pub fn append_bytes(token: &str, out: &mut Vec<u8>) {
    for character in token.chars() {
        match byte_of(character) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}
