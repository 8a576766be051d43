/**
 * JsonSource: a JSON text that knows on which line each of its fields stands, so that errors about them can say so.
 */
import { type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser'
import { StackError } from '../../stack/index.js'

// What most often is behind an error of the parser, for people.
const ADVICE: Readonly<Record<string, string>> = {
  InvalidSymbol: 'texts stand in double quotes, and true, false and null are the only words',
  InvalidNumberFormat: 'this is no number as JSON has them',
  PropertyNameExpected:
    'a field name in double quotes is expected here, and none follows a last comma',
  ValueExpected: 'a value is missing here',
  ColonExpected: 'a colon is missing between field and value',
  CommaExpected: 'a comma is missing before this',
  CloseBraceExpected: 'a closing } is missing',
  CloseBracketExpected: 'a closing ] is missing',
  EndOfFileExpected: 'nothing may follow the closing }',
  InvalidCommentToken: 'JSON has no comments: take this one out',
  UnexpectedEndOfString: 'a text ends with a double quote on the line it began',
}

export class JsonSource {
  /** What the text says. */
  readonly value: unknown
  readonly #root: Node | undefined
  readonly #text: string

  /** Throws ERR_CONFIG, naming `file` and the line, for what is not JSON, and for a field that is given twice. */
  constructor(text: string, file: string) {
    const errors: ParseError[] = []
    this.#text = text
    this.#root = parseTree(text, errors, { disallowComments: true })
    const [error] = errors
    if (error !== undefined || this.#root === undefined) {
      const name = error === undefined ? 'ValueExpected' : printParseErrorCode(error.error)
      const line = this.#lineAt(error?.offset ?? 0)
      throw new StackError('ERR_CONFIG', `${file}:${line}: is not JSON: ${ADVICE[name] ?? name}`)
    }
    const twice = findTwice(this.#root)
    if (twice !== null) {
      const line = this.#lineAt(twice.offset)
      throw new StackError(
        'ERR_CONFIG',
        `${file}:${line}: ${twice.value}: is given twice; take one out`,
      )
    }
    this.value = JSON.parse(text)
  }

  /** The line, from 1 on, of a field as `app.port` or `bindings[2].id`; of what holds it, when it is missing. */
  lineOf(field: string): number {
    let node = this.#root
    let offset = node?.offset ?? 0
    for (const step of field.split(/[.[\]]+/).filter((name) => name !== '')) {
      node = childOf(node, step)
      if (node === undefined) break
      // A field begins with its name.
      offset = node.parent?.type === 'property' ? node.parent.offset : node.offset
    }
    return this.#lineAt(offset)
  }

  #lineAt(offset: number): number {
    return this.#text.slice(0, offset).split('\n').length
  }
}

function childOf(node: Node | undefined, step: string): Node | undefined {
  if (node?.type === 'array') return node.children?.[Number(step)]
  return node?.children?.find((each) => each.children?.[0]?.value === step)?.children?.[1]
}

// The name of a field that its object has twice.
function findTwice(node: Node): Node | null {
  const names = new Set<unknown>()
  for (const child of node.children ?? []) {
    const name = node.type === 'object' ? child.children?.[0] : undefined
    if (name !== undefined && names.has(name.value)) return name
    names.add(name?.value)
    const below = findTwice(child)
    if (below !== null) return below
  }
  return null
}
