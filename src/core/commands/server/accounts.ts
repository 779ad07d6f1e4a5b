import { arg, type Command, CommandError, defineCommand } from '../command.ts'

export function accountCommands(): Command[] {
  return [
    defineCommand({
      name: 'register',
      summary: 'Makes an account.',
      args: { account: arg.account('The new account', { exists: false }), password: arg.secret('Its password') },
      example: 'register alice@localhost',
      async run({ account: { host, user, jid }, password }) {
        const kept = await host.nameKept(user)
        if (kept !== undefined && !(await host.users.exists(user))) throw new CommandError('conflict', kept)
        await checked(async () => {
          if (await host.users.create(user, password)) return
          throw new CommandError('conflict', `${jid} exists already; to set its password: change_password ${jid}`)
        })
        await host.hooks.run('register_user', { user: jid })
        return `${jid} can log in now`
      },
    }),
    defineCommand({
      name: 'unregister',
      summary: 'Removes an account with everything that is kept of it: roster, messages, vCard.',
      args: { account: arg.account('The account') },
      removes: true,
      async run({ account: { host, user, jid } }) {
        await host.removeAccount(user)
        return `${jid} is gone`
      },
    }),
    defineCommand({
      name: 'change_password',
      summary: 'Sets the password of an account and ends its sessions.',
      args: { account: arg.account('The account'), password: arg.secret('The new password') },
      async run({ account: { host, user, jid }, password }) {
        await checked(() => host.users.setPassword(user, password))
        return `${jid} has a new password`
      },
    }),
    defineCommand({
      name: 'check_password',
      summary: 'Tells whether a password is that of an account.',
      args: { account: arg.account('The account', { exists: false }), password: arg.secret('The password to try') },
      returns: 'bool',
      run: ({ account: { host, user }, password }) => host.users.verify(user, password),
    }),
    defineCommand({
      name: 'check_account',
      summary: 'Tells whether an account exists; fails if it does not.',
      args: { account: arg.account('The account') },
      run: ({ account }) => `${account.jid} exists`,
    }),
    defineCommand({
      name: 'ban_account',
      summary: 'Keeps an account from logging in, and ends its sessions. Nothing of it is deleted.',
      args: { account: arg.account('The account'), reason: arg.text('Why', { optional: true }) },
      async run({ account: { host, user, jid }, reason }) {
        await host.users.disable(user, reason)
        return `${jid} can no longer log in; to let it in again: unban_account ${jid}`
      },
    }),
    defineCommand({
      name: 'unban_account',
      summary: 'Lets a banned account log in again.',
      args: { account: arg.account('The account') },
      async run({ account: { host, user, jid } }) {
        await host.users.enable(user)
        return `${jid} can log in again`
      },
    }),
  ]
}

/** A name or password that cannot be is the fault of who typed it. */
async function checked<T>(fn: () => Promise<T>): Promise<T> {
  try {
    return await fn()
  } catch (error) {
    if (error instanceof Error && error.name === 'CredentialError') throw new CommandError('usage', error.message)
    throw error
  }
}
