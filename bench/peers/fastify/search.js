const KEY_CHARACTERS_MAX = 128;
const LAST_CODE_POINT = 0x10ffff;
const ASCII = /^[\0-\x7f]*$/;

// JavaScript has no case folding, but up and down again, one character at a time (a whole word's
// last sigma would be another), comes to the same for all but the dotless i and Cherokee.
function fold(text) {
  let folded = "";
  for (const character of text) {
    if (character === "ı") folded += character;
    else for (const upper of character.toLowerCase().toUpperCase()) folded += upper.toLowerCase();
  }
  return folded;
}

// What names are compared by: NFKC and case folded, as the service stores it.
export function searchKey(text) {
  if (ASCII.test(text)) return text.toLowerCase();
  const key = fold(text.normalize("NFKC")).normalize("NFKC");
  return key.length <= KEY_CHARACTERS_MAX ? key : [...key].slice(0, KEY_CHARACTERS_MAX).join("");
}

// The smallest key above every key that starts so, or one above all.
export function prefixEnd(prefix) {
  const characters = [...prefix];
  while (characters.length > 0) {
    const code = characters.pop().codePointAt(0) + 1;
    if (code <= LAST_CODE_POINT) {
      const next = code >= 0xd800 && code <= 0xdfff ? 0xe000 : code;
      return characters.join("") + String.fromCodePoint(next);
    }
  }
  return String.fromCodePoint(LAST_CODE_POINT).repeat(KEY_CHARACTERS_MAX + 1);
}
