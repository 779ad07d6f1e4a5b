/** Names for the first word come from the running server, at the moment of completion. */
const NAMES = 'hermodctl commands 2>/dev/null'
const OWN = 'help commands completion'

const SCRIPTS: Record<string, string> = {
  bash: `_hermodctl() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  if [ "$COMP_CWORD" -eq 1 ] || [ "$before" = help ]; then
    COMPREPLY=($(compgen -W "$(${NAMES}) ${OWN}" -- "$word"))
  fi
}
complete -o default -F _hermodctl hermodctl`,
  zsh: `#compdef hermodctl
_hermodctl() {
  if (( CURRENT == 2 )) || [[ $words[CURRENT-1] == help ]]; then
    compadd -- \${(f)"$(${NAMES})"} ${OWN}
  else
    _files
  fi
}
compdef _hermodctl hermodctl`,
  fish: `complete -c hermodctl -n __fish_is_first_arg -f -a "(${NAMES}) ${OWN}"
complete -c hermodctl -n '__fish_seen_subcommand_from help' -f -a "(${NAMES})"`,
}

export const SHELLS = Object.keys(SCRIPTS)

/** A script that completes command names, to be sourced by the shell; undefined for a shell that is not known. */
export function completion(shell = ''): string | undefined {
  return Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined
}
