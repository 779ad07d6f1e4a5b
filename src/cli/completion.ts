/** A script that completes command names; the names come from the running server. */
export function completion(shell: string): string {
  const names = "hermodctl help 2>/dev/null | sed -n '/^COMMAND/,$p' | awk 'NR>1 {print $1}'"
  switch (shell) {
    case 'bash':
      return `complete -W "$(${names}) help completion" hermodctl`
    case 'zsh':
      return `#compdef hermodctl\ncompadd -- $(${names}) help completion`
    case 'fish':
      return `complete -c hermodctl -f -a "(${names}) help completion"`
    default:
      throw new Error(`a shell is missing: completion bash, completion zsh or completion fish`)
  }
}
