/** What a module has left on its host, and how to take it away. */
export class Marks {
  #steps: { undo: () => unknown; again?: () => () => unknown }[] = []

  /** Registers something; it can be done again after it was undone. */
  add(register: () => () => unknown): void {
    this.#steps.push({ undo: register(), again: register })
  }

  /** What is undone once, at the end. */
  onStop(undo: () => unknown): void {
    this.#steps.push({ undo })
  }

  withdraw(): () => void {
    for (const { undo, again } of this.#steps.toReversed()) if (again !== undefined) undo()
    return () => {
      for (const step of this.#steps) if (step.again !== undefined) step.undo = step.again()
    }
  }

  async stop(): Promise<void> {
    const steps = this.#steps
    this.#steps = []
    const failures: unknown[] = []
    for (const { undo } of steps.reverse()) {
      try {
        await undo()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 1) throw new AggregateError(failures, failures.map(String).join('; '))
    if (failures.length > 0) throw failures[0]
  }
}
