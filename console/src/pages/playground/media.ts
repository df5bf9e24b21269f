// Files of a form: from base64, to data URLs, and sounds of the microphone as WAV.

import type { MediaKind } from "../../api/tasks";

/** What a field of media holds: a file of one's own, or the address of one. */
export type Media = { blob: Blob; name: string } | { url: string };

/** The beginnings of files in base64 → what they are. Source: each format's signature. */
const SIGNATURES: readonly (readonly [string, string])[] = [
  ["iVBOR", "image/png"],
  ["/9j/", "image/jpeg"],
  ["R0lG", "image/gif"],
  ["Qk", "image/bmp"],
  ["UklGR", "audio/wav"],
  ["T2dn", "audio/ogg"],
  ["ZkxhQ", "audio/flac"],
  ["GkXf", "video/webm"],
];
const ENDING = /^[\w-]+\/([\w.+-]+)$/;
const SAMPLE_RATE = 16_000;

/** A file of what a body holds in base64, bare or as a data URL. */
export function fromBase64(text: string, kind: MediaKind): Media {
  const [, told, bare = text] = /^data:([^;,]*)[^,]*,(.*)$/s.exec(text) ?? [];
  const type = told || (SIGNATURES.find(([begin]) => bare.startsWith(begin))?.[1] ?? "");
  const bytes = Uint8Array.from(atob(bare), (letter) => letter.charCodeAt(0));
  return { blob: new Blob([bytes], { type }), name: `example.${ENDING.exec(type)?.[1] ?? kind}` };
}

/** Whether a browser shows it as an image, whatever its field is called: a GIF may be a video. */
export const isPicture = (media: Media, kind: MediaKind): boolean =>
  kind === "image" || ("blob" in media && media.blob.type.startsWith("image/"));

export function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error ?? new Error(reader.result as string));
    reader.readAsDataURL(blob);
  });
}

/** What the microphone has recorded, in the browser's format, as a WAV of one channel, 16 bits, 16 kHz. */
export async function toWav(recorded: Blob): Promise<Blob> {
  const context = new AudioContext();
  try {
    const sound = await context.decodeAudioData(await recorded.arrayBuffer());
    const mixer = new OfflineAudioContext(1, Math.max(1, Math.ceil(sound.duration * SAMPLE_RATE)), SAMPLE_RATE);
    const source = new AudioBufferSourceNode(mixer, { buffer: sound });
    source.connect(mixer.destination);
    source.start();
    const mixed = await mixer.startRendering();
    return wavOf(mixed.getChannelData(0));
  } finally {
    await context.close();
  }
}

/** Source: http://soundfile.sapp.org/doc/WaveFormat/ */
export function wavOf(samples: Float32Array): Blob {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const word = (at: number, letters: string) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  word(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, SAMPLE_RATE, true);
  view.setUint32(28, 2 * SAMPLE_RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  word(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, i) => view.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, sample)) * 0x7fff, true));
  return new Blob([view], { type: "audio/wav" });
}
