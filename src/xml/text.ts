/**
 * The text of one node while it arrives. What one chunk holds of it is kept as a string; what is left of earlier chunks
 * as bytes, so that text dripped byte by byte stays proportional to its length.
 */
export class TextCollector {
  #recent = ''
  #earlier: Buffer | undefined
  #length = 0

  get empty(): boolean {
    return this.#recent === '' && this.#length === 0
  }

  /** Characters and bytes of it. */
  get size(): number {
    return this.#recent.length + this.#length
  }

  add(piece: string): void {
    this.#recent = this.#recent === '' ? piece : this.#recent + piece
  }

  /** To be called when a chunk is used up. */
  settle(): void {
    if (this.#recent === '') return
    const needed = this.#length + Buffer.byteLength(this.#recent)
    if (this.#earlier === undefined || this.#earlier.length < needed) {
      const larger = Buffer.allocUnsafe(Math.max(64, needed * 2))
      this.#earlier?.copy(larger, 0, 0, this.#length)
      this.#earlier = larger
    }
    this.#earlier.write(this.#recent, this.#length)
    this.#length = needed
    this.#recent = ''
  }

  /** The whole text; the collector is empty afterwards. */
  take(): string {
    if (this.#length > 0) this.settle()
    const text = this.#earlier === undefined ? this.#recent : this.#earlier.toString('utf8', 0, this.#length)
    this.#recent = ''
    this.#earlier = undefined
    this.#length = 0
    return text
  }
}
