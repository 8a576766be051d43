/**
 * The rules of `npm run tidy`, each a function from one parsed source to its violations. They know the syntax tree of
 * one file and nothing of types, so that a rule can be tested on a few lines of text.
 */
import ts from 'typescript'
import { layerOf, refuseImport } from './tidy-layers.js'

/** One parsed file; `path` is relative to the root. */
export interface Source {
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
  readonly tree: ts.SourceFile
}

/** What is wrong and what to do about it. A warning does not fail the run. */
export interface Violation {
  readonly path: string
  readonly line: number
  readonly rule: string
  readonly advice: string
  readonly warning: boolean
}

export const HOT_MARK = '// hot path: no allocation per frame'
const MAX_FILE_LINES = 450
const MAX_TEST_LINES = 700
const MAX_FUNCTION_LINES = 90
const LONG_FUNCTION_LINES = 70

const BANNED = new Set([
  ...['Date', 'setTimeout', 'setInterval', 'setImmediate', 'queueMicrotask', 'performance'],
  ...['process', 'console', 'EventEmitter', 'Promise'],
])

/** Files beside the Tcb itself that may write its fields, and why. */
const TCB_WRITERS: Readonly<Record<string, string>> = {
  'stack/tcp/tcb.ts': 'the class itself',
  'stack/tcp/segment-arrives.ts': 'the fold over what arrives',
  'stack/tcp/segment-departs.ts': 'the fold over what departs',
  'cluster/tcb-record.ts': 'builds a Tcb from its record',
}

export function parse(path: string, text: string): Source {
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.ES2022, true)
  return { path, text, lines: text.split('\n'), tree }
}

function violation(source: Source, line: number, rule: string, advice: string): Violation {
  return { path: source.path, line, rule, advice, warning: false }
}

function lineOf(source: Source, node: ts.Node): number {
  return source.tree.getLineAndCharacterOfPosition(node.getStart(source.tree)).line + 1
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node)
  ts.forEachChild(node, (child) => walk(child, visit))
}

export function checkLayers(source: Source): Violation[] {
  const found: Violation[] = []
  walk(source.tree, (node) => {
    const specifier = specifierOf(node)
    if (specifier === undefined) return
    const refusal = refuseImport(source.path, specifier)
    if (refusal !== undefined) found.push(violation(source, lineOf(source, node), 'layer', refusal))
  })
  return found
}

function specifierOf(node: ts.Node): string | undefined {
  let literal: ts.Node | undefined
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) literal = node.moduleSpecifier
  else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    literal = node.argument.literal
  } else if (ts.isCallExpression(node)) {
    const callee = node.expression
    const imports = callee.kind === ts.SyntaxKind.ImportKeyword
    if (imports || (ts.isIdentifier(callee) && callee.text === 'require'))
      literal = node.arguments[0]
  }
  return literal !== undefined && ts.isStringLiteralLike(literal) ? literal.text : undefined
}

/** Whether the file belongs to the core, which must not touch the world. */
function isCore(path: string): boolean {
  if (!path.startsWith('stack/') && !path.startsWith('cluster/')) return false
  return !/^(stack|cluster)\/(io|socket|native)\//.test(path)
}

export function checkBans(source: Source): Violation[] {
  if (!isCore(source.path)) return []
  const found: Violation[] = []
  walk(source.tree, (node) => {
    const name = bannedName(node)
    if (name === undefined) return
    const advice = `${name} belongs to io/, socket/ or apps/: take the time as \`now\`, chance as an Rng, return outputs`
    found.push(violation(source, lineOf(source, node), 'ban', advice))
  })
  return found
}

function bannedName(node: ts.Node): string | undefined {
  if (ts.isAwaitExpression(node)) return 'await'
  if (node.kind === ts.SyntaxKind.AsyncKeyword) return 'async'
  if (ts.isForOfStatement(node) && node.awaitModifier) return 'for await'
  if (ts.isPropertyAccessExpression(node)) {
    const owner = node.expression.getText()
    if (owner === 'Math' && node.name.text === 'random') return 'Math.random'
    if (owner === 'globalThis' && BANNED.has(node.name.text)) return node.name.text
  }
  if (!ts.isIdentifier(node) || !BANNED.has(node.text)) return undefined
  return isMemberName(node) ? undefined : node.text
}

/** Whether an identifier only names a member, as in `x.process` or `{ process: 1 }`. */
function isMemberName(node: ts.Identifier): boolean {
  const parent = node.parent
  if (ts.isPropertyAccessExpression(parent)) return parent.name === node
  if (ts.isQualifiedName(parent)) return parent.right === node
  if (ts.isPropertyAssignment(parent) || ts.isPropertyDeclaration(parent))
    return parent.name === node
  if (ts.isPropertySignature(parent) || ts.isMethodSignature(parent)) return parent.name === node
  return ts.isMethodDeclaration(parent) && parent.name === node
}

export function checkNames(source: Source): Violation[] {
  const found: Violation[] = []
  const file = source.path.split('/').at(-1) ?? ''
  if (/(^|[-.])(manager|helpers?|utils?)([-.]|$)/i.test(file)) {
    const advice = `${file} says nothing: name the file after the one thing it holds`
    found.push(violation(source, 1, 'name', advice))
  }
  walk(source.tree, (node) => {
    if (!ts.isIdentifier(node) || !isDeclaredName(node)) return
    if (/(Manager|Helper|Utils?)(?![a-z])/.test(node.text)) {
      const advice = `${node.text}: say what it is, in the words of the RFC`
      found.push(violation(source, lineOf(source, node), 'name', advice))
    } else if (/^(process|do)[A-Z]/.test(node.text) && !ts.isVariableDeclaration(node.parent)) {
      const advice = `${node.text}: use handle*, poll*, next* or the RFC's word`
      found.push(violation(source, lineOf(source, node), 'name', advice))
    }
  })
  return found
}

function isDeclaredName(node: ts.Identifier): boolean {
  const parent = node.parent
  const declares =
    ts.isClassDeclaration(parent) ||
    ts.isInterfaceDeclaration(parent) ||
    ts.isTypeAliasDeclaration(parent) ||
    ts.isFunctionDeclaration(parent) ||
    ts.isMethodDeclaration(parent) ||
    ts.isVariableDeclaration(parent)
  return declares && parent.name === node
}

export function checkLengths(source: Source): Violation[] {
  const found: Violation[] = []
  const length = source.text.endsWith('\n') ? source.lines.length - 1 : source.lines.length
  const limit = source.path.startsWith('test/') ? MAX_TEST_LINES : MAX_FILE_LINES
  if (length > limit) {
    const advice = `${length} lines, at most ${limit}: split the file where its head comment says "and"`
    found.push(violation(source, limit + 1, 'file-length', advice))
  }
  walk(source.tree, (node) => {
    if (!ts.isFunctionLike(node) || !('body' in node) || node.body === undefined) return
    const first = lineOf(source, node)
    const lines = source.tree.getLineAndCharacterOfPosition(node.getEnd()).line + 2 - first
    if (lines <= LONG_FUNCTION_LINES) return
    const warning = lines <= MAX_FUNCTION_LINES
    const advice = `${lines} lines, at most ${MAX_FUNCTION_LINES} and better ${LONG_FUNCTION_LINES}: split it by its steps`
    found.push({ ...violation(source, first, 'function-length', advice), warning })
  })
  return found
}

export function checkHotPath(source: Source): Violation[] {
  if (source.lines[0] !== HOT_MARK) return []
  const found: Violation[] = []
  const visit = (node: ts.Node, inFunction: boolean): void => {
    const what = inFunction ? allocation(node) : undefined
    if (what !== undefined && !isExcused(source, node)) {
      const advice = `${what} in a hot file: reuse what exists, or write \`// allocates: reason\` on the line above`
      found.push(violation(source, lineOf(source, node), 'hot-path', advice))
    }
    const enters = ts.isFunctionLike(node)
    const inside = ts.isConstructorDeclaration(node) ? false : inFunction || enters
    ts.forEachChild(node, (child) => visit(child, inside))
  }
  visit(source.tree, false)
  return found
}

function allocation(node: ts.Node): string | undefined {
  if (ts.isObjectLiteralExpression(node)) return 'an object literal'
  if (ts.isArrayLiteralExpression(node)) return 'an array literal'
  if (ts.isArrowFunction(node) || ts.isFunctionExpression(node)) return 'a closure'
  if (ts.isFunctionDeclaration(node)) return 'a closure'
  if (ts.isSpreadElement(node) || ts.isSpreadAssignment(node)) return 'a spread'
  if (ts.isTemplateExpression(node)) return 'a template string'
  // Taking fields out of an object costs nothing; an array is taken apart by an iterator, and a rest makes a new object.
  if (ts.isArrayBindingPattern(node)) return 'destructuring of an array'
  if (ts.isBindingElement(node) && node.dotDotDotToken !== undefined) return 'a rest element'
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression))
    return undefined
  return node.expression.name.text === 'subarray' ? 'subarray()' : undefined
}

/** Whether the line of the node, of its statement or of its function, or the line above it, gives a reason. */
function isExcused(source: Source, node: ts.Node): boolean {
  for (let at: ts.Node | undefined = node; at !== undefined; at = at.parent) {
    const line = lineOf(source, at)
    if (/\/\/ allocates: \S/.test(source.lines[line - 1] ?? '')) return true
    if (/^\s*\/\/ allocates: \S/.test(source.lines[line - 2] ?? '')) return true
    if (ts.isFunctionLike(at) && at !== node) return false
  }
  return false
}

export function checkComments(source: Source): Violation[] {
  const found: Violation[] = []
  source.lines.forEach((line, index) => {
    if (!/(\/\/|\/\*|^\s*\*).*\b(TODO|FIXME|XXX)\b/.test(line)) return
    const advice = 'a note of work to be done: do it now or leave it out'
    found.push(violation(source, index + 1, 'unfinished', advice))
  })
  if (layerOf(source.path) === undefined || source.path.startsWith('apps/')) return found
  const advice = headProblem(source)
  if (advice !== undefined) found.push(violation(source, 1, 'head-comment', advice))
  return found
}

function headProblem(source: Source): string | undefined {
  const text = source.lines[0] === HOT_MARK ? source.lines.slice(1).join('\n') : source.text
  const [first] = ts.getLeadingCommentRanges(text, 0) ?? []
  if (first === undefined || !text.startsWith('/**', first.pos)) {
    return 'begin with a comment of 3 to 8 lines: what it is, RFC sections, its invariant'
  }
  if (/^[ \t]*\n[ \t]*(\n|import |export (\*|\{|type \{))/.test(text.slice(first.end)))
    return undefined
  return 'the first comment documents what follows: put a head comment and an empty line before it'
}

/** The public fields of class Tcb. */
export function tcbFields(source: Source): Set<string> {
  const fields = new Set<string>()
  walk(source.tree, (node) => {
    if (!ts.isClassDeclaration(node) || node.name?.text !== 'Tcb') return
    for (const member of node.members) {
      if (!ts.isPropertyDeclaration(member) || !ts.isIdentifier(member.name)) continue
      const hidden = ts.SyntaxKind.PrivateKeyword
      if (!member.modifiers?.some((modifier) => modifier.kind === hidden))
        fields.add(member.name.text)
    }
  })
  return fields
}

export function checkTcbWriters(source: Source, fields: ReadonlySet<string>): Violation[] {
  if (layerOf(source.path) === undefined || source.path in TCB_WRITERS) return []
  const names = tcbNames(source)
  const found: Violation[] = []
  walk(source.tree, (node) => {
    const target = assigned(node)
    if (target === undefined || !ts.isPropertyAccessExpression(target)) return
    if (!fields.has(target.name.text) || !isTcb(target.expression, names)) return
    const advice = `Tcb.${target.name.text} is written by segmentArrives and segmentDeparts only: return the segment instead`
    found.push(violation(source, lineOf(source, node), 'tcb-writer', advice))
  })
  return found
}

function assigned(node: ts.Node): ts.Node | undefined {
  if (ts.isBinaryExpression(node)) {
    const kind = node.operatorToken.kind
    const first = ts.SyntaxKind.FirstAssignment
    return kind >= first && kind <= ts.SyntaxKind.LastAssignment ? node.left : undefined
  }
  if (!ts.isPrefixUnaryExpression(node) && !ts.isPostfixUnaryExpression(node)) return undefined
  const kind = node.operator
  const counts = kind === ts.SyntaxKind.PlusPlusToken || kind === ts.SyntaxKind.MinusMinusToken
  return counts ? node.operand : undefined
}

/** The names that hold a Tcb in this file: declared as one, or made from something called tcb. */
function tcbNames(source: Source): Set<string> {
  const names = new Set<string>()
  walk(source.tree, (node) => {
    if (!ts.isParameter(node) && !ts.isVariableDeclaration(node) && !ts.isPropertyDeclaration(node))
      return
    const type = node.type?.getText(source.tree) ?? ''
    const value = node.initializer?.getText(source.tree) ?? ''
    const holds = /^(Readonly<)?Tcb\b/.test(type) || /tcb$/i.test(value) || /^new Tcb\b/.test(value)
    if (holds) names.add(node.name.getText(source.tree))
  })
  return names
}

function isTcb(owner: ts.Expression, names: ReadonlySet<string>): boolean {
  const last = ts.isPropertyAccessExpression(owner) ? owner.name.text : owner.getText()
  return /tcb!?$/i.test(last) || names.has(last)
}
