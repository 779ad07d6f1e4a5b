import { LOG_LEVELS, setLogLevel } from '../../log.ts'
import { arg, type Command, defineCommand } from '../command.ts'
import { failing } from '../result.ts'
import { type BackupReport, names, type ServerControl } from './control.ts'

export function serverCommands(server: ServerControl): Command[] {
  return [
    defineCommand({
      name: 'status',
      summary: 'Says whether the server is well: version, time since the start, ports, hosts, sessions, certificates.',
      args: {},
      returns: { what: 'text', value: 'text' },
      run() {
        const ports = server.ports().map(p => ({ what: `port ${p.port}`, value: `${p.module}, ${p.ip}, tls ${p.tls}` }))
        const certificates = server.certificates().map(c => ({
          what: `certificate ${c.names.join(' ')}`,
          value: `until ${c.notAfter.toISOString().slice(0, 10)}${c.file === undefined ? '' : `, ${c.file}`}`,
        }))
        return [
          { what: 'state', value: server.state },
          { what: 'version', value: server.version },
          { what: 'node', value: process.version },
          { what: 'up', value: `${Math.floor(server.uptime / 1000)} s` },
          { what: 'pid', value: String(process.pid) },
          { what: 'hosts', value: names(server) },
          { what: 'sessions', value: String(server.sessionCount) },
          ...ports,
          ...certificates,
        ]
      },
    }),
    defineCommand({
      name: 'stats',
      summary: 'Shows the counters and gauges of the server.',
      args: {},
      returns: { name: 'text', value: 'number' },
      run: () => server.metrics.values(),
    }),
    defineCommand({
      name: 'set_loglevel',
      summary: 'Changes what is logged, until the next reload.',
      args: { level: arg.text('The level', { values: LOG_LEVELS }) },
      run({ level }) {
        setLogLevel(server.log, level)
        return level
      },
    }),
    defineCommand({
      name: 'reload',
      summary: 'Reads the configuration again, wholly or not at all; sessions stay. Names what needs a restart.',
      args: {},
      async run() {
        const left = await failing(server.reloadConfig(), 'not reloaded, all stays as it was: ')
        return left.length === 0 ? 'reloaded' : `reloaded, but a restart is needed for: ${left.join(', ')}`
      },
    }),
    defineCommand({
      name: 'drain',
      summary: 'Takes no more connections and sends clients away; sessions can be resumed.',
      args: {},
      run() {
        server.drain()
        return 'draining; to end: stop'
      },
    }),
    defineCommand({
      name: 'stop',
      summary: 'Stops the server in order; sessions can be resumed after the next start.',
      args: {},
      run() {
        server.leaveSoon('stop')
        return 'stopping'
      },
    }),
    defineCommand({
      name: 'backup',
      summary:
        'Writes everything in the store, as it is at one moment, with pictures and files, to a file. The server goes on meanwhile.',
      args: {
        file: arg.file('The file to write'),
        content: arg.text('`rows` leaves out pictures and files; default `all`', {
          optional: true,
          values: ['all', 'rows'],
        }),
      },
      example: 'backup /backups/hermod.bak',
      async run({ file, content }, { progress }) {
        const { bytes, missing, ...blobs } = await failing(server.backup(file, content === 'rows', progress))
        const damaged = missing === 0 ? '' : `; ${missing} of the files are damaged and were left out, see the log`
        return `${bytes} bytes, with ${filesOf(blobs)}${damaged}`
      },
    }),
    defineCommand({
      name: 'restore',
      summary: 'Replaces everything that the server keeps by what a backup holds; the server restarts itself on it.',
      args: { file: arg.file('The file that backup wrote') },
      example: '--yes restore /backups/hermod.bak',
      confirm:
        'All accounts, messages and settings of users that the server keeps now are replaced by those of the backup, and it restarts.',
      async run({ file }, { progress }) {
        const found = await failing(server.restore(file, progress))
        const { accounts, waiting, archived, rows, kept } = found
        const messages = `${waiting} messages that wait, ${archived} in archives`
        return `read: ${accounts} accounts, ${messages}, ${filesOf(found)} (${rows} rows). The server restarts on them now. The store that it had is kept in ${kept}: remove it when it is not needed any more`
      },
    }),
    defineCommand({
      name: 'hooks',
      summary: 'Shows each hook with its handlers in the order in which they run.',
      args: { host: arg.host('The host; default the first', { optional: true }) },
      returns: { hook: 'text', order: 'int', owner: 'text' },
      run: ({ host = server.hosts[0]! }) => host.hooks.list(),
    }),
    defineCommand({
      name: 'modules',
      summary: 'Lists the modules that run.',
      args: {},
      returns: { host: 'text', module: 'text', xep: 'text' },
      run: () => server.modules(),
    }),
  ]
}

function filesOf({ pictures, files }: Pick<BackupReport, 'pictures' | 'files'>): string {
  return `${pictures} pictures and ${files} other files`
}
