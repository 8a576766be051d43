/**
 * `understudy completion bash`: what a shell completes behind the command, from the words that the help texts show, so that the two
 * cannot differ.
 */
import { LAB_HELP, VERB_HELP } from './lab/cli-help.js'
import { UsageError } from './lab/usage-error.js'

const HELP = `Usage: understudy completion bash

Prints a script that completes commands and options.

  understudy completion bash > /etc/bash_completion.d/understudy
  source <(npx understudy completion bash)

Exit codes: 0 done, 2 wrong usage.`

/** The options that a help text names. */
export function optionsIn(help: string): string[] {
  return [...new Set(help.match(/(?<![\w-])--[a-z][a-z0-9-]*/g) ?? [])].sort()
}

// The words that begin the lines of a list of commands.
function wordsIn(help: string): string[] {
  return [...help.matchAll(/^ {2}([a-z]+)(?= {2,}|$)/gm)].map(([, word]) => word as string)
}

/** The script. `main` is the help of the command itself, `helps` those of its subcommands by name. */
export function bashCompletion(main: string, helps: Readonly<Record<string, string>>): string {
  const commands = wordsIn(main)
  const cases = commands.map((name) => {
    const words = name === 'lab' ? [...wordsIn(LAB_HELP), '--help'] : optionsIn(helps[name] ?? '')
    return `    ${name}) words="${words.join(' ')}" ;;`
  })
  const verbs = Object.entries(VERB_HELP).map(
    ([verb, help]) => `      ${verb}) words="${['owner', ...optionsIn(help)].join(' ')}" ;;`,
  )
  return `_understudy() {
  local word=\${COMP_WORDS[COMP_CWORD]} words=""
  if ((COMP_CWORD == 1)); then
    words="${commands.join(' ')} --help"
  else
    case \${COMP_WORDS[1]} in
${cases.join('\n')}
    esac
    if [[ \${COMP_WORDS[1]} == lab && COMP_CWORD -gt 2 ]]; then
      case \${COMP_WORDS[2]} in
${verbs.join('\n')}
      esac
    fi
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  [[ \${#COMPREPLY[@]} -gt 0 ]] || compopt -o default
}
complete -F _understudy understudy
`
}

/** Runs `understudy completion ARGS`. Throws UsageError. */
export function completionCommand(
  args: readonly string[],
  main: string,
  helps: Readonly<Record<string, string>>,
): number {
  const [shell] = args
  if (shell === '--help' || shell === '-h') process.stdout.write(`${HELP}\n`)
  else if (shell === 'bash') process.stdout.write(bashCompletion(main, helps))
  else throw new UsageError('completion: there is bash (see understudy completion --help)')
  return 0
}
