/** @xmpp/client ships no types; these are the ones used here. */
declare module '@xmpp/client' {
  interface Client {
    jid?: { toString(): string }
    start(): Promise<unknown>
    stop(): Promise<void>
    send(element: unknown): Promise<void>
    // biome-ignore lint/suspicious/noExplicitAny: the edge to an untyped library
    on(event: string, listener: (...args: any[]) => unknown): void
    iqCaller: { request(iq: unknown): Promise<unknown> }
    streamManagement: { enabled: boolean }
  }
  export function client(options: {
    service: string
    domain?: string
    username?: string
    password?: string
    /** Says by which mechanism to log in, and with what. */
    credentials?: (
      authenticate: (credentials: Record<string, string>, mechanism: string) => Promise<void>,
      mechanisms: string[],
    ) => Promise<void>
    resource?: string
  }): Client
  export function xml(name: string, attrs?: Record<string, string | undefined>, ...children: unknown[]): unknown
}

/** @xmpp/component neither. */
declare module '@xmpp/component' {
  interface Component {
    start(): Promise<unknown>
    stop(): Promise<void>
    send(element: unknown): Promise<void>
    // biome-ignore lint/suspicious/noExplicitAny: the edge to an untyped library
    on(event: string, listener: (...args: any[]) => unknown): void
    // biome-ignore lint/suspicious/noExplicitAny: the edge to an untyped library
    once(event: string, listener: (...args: any[]) => unknown): void
    status: string
  }
  export function component(options: { service: string; domain: string; password: string }): Component
  export function xml(name: string, attrs?: Record<string, string | undefined>, ...children: unknown[]): unknown
}
