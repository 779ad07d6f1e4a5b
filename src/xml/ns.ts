/** Namespaces, by what they are called in conversation. The number is the XEP that defines them. */
export const NS = Object.freeze({
  // Streams (RFC 6120)
  STREAM: 'http://etherx.jabber.org/streams',
  CLIENT: 'jabber:client',
  COMPONENT: 'jabber:component:accept',
  STREAM_ERRORS: 'urn:ietf:params:xml:ns:xmpp-streams',
  STANZAS: 'urn:ietf:params:xml:ns:xmpp-stanzas',
  TLS: 'urn:ietf:params:xml:ns:xmpp-tls',
  SASL: 'urn:ietf:params:xml:ns:xmpp-sasl',
  BIND: 'urn:ietf:params:xml:ns:xmpp-bind',
  SESSION: 'urn:ietf:params:xml:ns:xmpp-session',
  STREAM_LIMITS: 'urn:xmpp:stream-limits:0',
  COMPRESS: 'http://jabber.org/protocol/compress',

  // Between servers
  SERVER: 'jabber:server',
  DIALBACK: 'jabber:server:dialback',
  DIALBACK_FEATURE: 'urn:xmpp:features:dialback',
  BIDI: 'urn:xmpp:bidi',
  BIDI_FEATURE: 'urn:xmpp:features:bidi',

  // Authentication
  SASL2: 'urn:xmpp:sasl:2',
  BIND2: 'urn:xmpp:bind:0',
  FAST: 'urn:xmpp:fast:0',
  SASL_CB: 'urn:xmpp:sasl-cb:0',
  SASL_UPGRADE: 'urn:xmpp:sasl:upgrade:0',
  SCRAM_UPGRADE: 'urn:xmpp:scram-upgrade:0',
  REGISTER: 'jabber:iq:register',
  REGISTER_FEATURE: 'http://jabber.org/features/iq-register',
  IBR_TOKEN: 'urn:xmpp:ibr-token:0',
  PARS: 'urn:xmpp:pars:0',
  INVITE: 'urn:xmpp:invite#invite',
  INVITE_ACCOUNT: 'urn:xmpp:invite#create-account',
  INVITATION: 'urn:xmpp:invite#invitation',

  // Stream management and client state
  SM: 'urn:xmpp:sm:3',
  CSI: 'urn:xmpp:csi:0',

  // Instant messaging (RFC 6121)
  ROSTER: 'jabber:iq:roster',
  ROSTERVER: 'urn:xmpp:features:rosterver',
  PRE_APPROVAL: 'urn:xmpp:features:pre-approval',
  BLOCKING: 'urn:xmpp:blocking',
  BLOCKING_ERRORS: 'urn:xmpp:blocking:errors',
  REPORTING: 'urn:xmpp:reporting:1',

  // Discovery
  DISCO_INFO: 'http://jabber.org/protocol/disco#info',
  DISCO_ITEMS: 'http://jabber.org/protocol/disco#items',
  CAPS: 'http://jabber.org/protocol/caps',
  SERVERINFO: 'http://jabber.org/network/serverinfo',
  EXTDISCO: 'urn:xmpp:extdisco:2',
  EXTDISCO1: 'urn:xmpp:extdisco:1',

  // Utilities
  DATA: 'jabber:x:data',
  DATA_VALIDATE: 'http://jabber.org/protocol/xdata-validate',
  RSM: 'http://jabber.org/protocol/rsm',
  DELAY: 'urn:xmpp:delay',
  DELAY_LEGACY: 'jabber:x:delay',
  PING: 'urn:xmpp:ping',
  LAST: 'jabber:iq:last',
  TIME: 'urn:xmpp:time',
  VERSION: 'jabber:iq:version',
  PRIVATE: 'jabber:iq:private',
  VCARD: 'vcard-temp',
  VCARD_UPDATE: 'vcard-temp:x:update',
  VCARD4: 'urn:ietf:params:xml:ns:vcard-4.0',
  VCARD4_NODE: 'urn:xmpp:vcard4',
  CONTACTS: 'urn:xmpp:contacts',
  COMMANDS: 'http://jabber.org/protocol/commands',
  ADMIN: 'http://jabber.org/protocol/admin',
  IQ_SEARCH: 'jabber:iq:search',
  SOFTWARE_INFO: 'urn:xmpp:dataforms:softwareinfo',
  OUTAGE: 'urn:xmpp:sos:0',
  DATA_POLICY: 'urn:xmpp:data-policy:0',

  // Messages
  CARBONS: 'urn:xmpp:carbons:2',
  CARBONS_RULES: 'urn:xmpp:carbons:rules:0',
  FORWARD: 'urn:xmpp:forward:0',
  SID: 'urn:xmpp:sid:0',
  HINTS: 'urn:xmpp:hints',
  CHATSTATES: 'http://jabber.org/protocol/chatstates',
  RECEIPTS: 'urn:xmpp:receipts',
  MARKERS: 'urn:xmpp:chat-markers:0',
  RETRACT: 'urn:xmpp:message-retract:1',
  OMEMO: 'urn:xmpp:omemo:2',
  OMEMO_LEGACY: 'eu.siacs.conversations.axolotl',
  OPENPGP: 'urn:xmpp:openpgp:0',
  XHTML: 'http://www.w3.org/1999/xhtml',
  JINGLE_MESSAGE: 'urn:xmpp:jingle-message:0',
  MSGOFFLINE: 'msgoffline',

  // Archives and push
  MAM: 'urn:xmpp:mam:2',
  MAM_EXTENDED: 'urn:xmpp:mam:2#extended',
  PUSH: 'urn:xmpp:push:0',
  PUSH_SUMMARY: 'urn:xmpp:push:summary',
  PUSH_PRIORITY: 'tigase:push:priority:0',
  INBOX: 'urn:xmpp:inbox:1',
  MDS: 'urn:xmpp:mds:displayed:0',
  MDS_ASSIST: 'urn:xmpp:mds:server-assist:0',

  // Rooms
  MUC: 'http://jabber.org/protocol/muc',
  MUC_USER: 'http://jabber.org/protocol/muc#user',
  CONFERENCE: 'jabber:x:conference',
  OCCUPANT_ID: 'urn:xmpp:occupant-id:0',
  BOOKMARKS: 'storage:bookmarks',
  BOOKMARKS2: 'urn:xmpp:bookmarks:1',
  BOOKMARKS_CONVERSION: 'urn:xmpp:bookmarks-conversion:0',

  // Publish-subscribe
  PUBSUB: 'http://jabber.org/protocol/pubsub',
  PUBSUB_EVENT: 'http://jabber.org/protocol/pubsub#event',
  PUBSUB_OWNER: 'http://jabber.org/protocol/pubsub#owner',
  PUBSUB_ERRORS: 'http://jabber.org/protocol/pubsub#errors',
  PUBSUB_NODE_CONFIG: 'http://jabber.org/protocol/pubsub#node_config',
  PUBSUB_META_DATA: 'http://jabber.org/protocol/pubsub#meta-data',
  PUBSUB_PUBLISH_OPTIONS: 'http://jabber.org/protocol/pubsub#publish-options',
  PUBSUB_SUBSCRIBE_OPTIONS: 'http://jabber.org/protocol/pubsub#subscribe_options',
  AVATAR_DATA: 'urn:xmpp:avatar:data',
  AVATAR_METADATA: 'urn:xmpp:avatar:metadata',
  AVATAR_CONVERSION: 'urn:xmpp:pep-vcard-conversion:0',

  // Files
  HTTP_UPLOAD: 'urn:xmpp:http:upload:0',
  HTTP_UPLOAD_PURPOSE: 'urn:xmpp:http:upload:purpose:0',

  // XML itself
  XML: 'http://www.w3.org/XML/1998/namespace',
  XMLNS: 'http://www.w3.org/2000/xmlns/',
})
