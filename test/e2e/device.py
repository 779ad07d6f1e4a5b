"""A client made with slixmpp, for tests: commands as lines of JSON on stdin, answers and events as lines of JSON on stdout."""
import asyncio
import base64
import hashlib
import json
import sys

import slixmpp


def tell(**what):
    print(json.dumps(what), flush=True)


class Device(slixmpp.ClientXMPP):
    def __init__(self, jid, password, authority):
        super().__init__(jid, password)
        self.ca_certs = authority
        for plugin in ('0030', '0054', '0060', '0084', '0163', '0184', '0198', '0199', '0313', '0333', '0363'):
            self.register_plugin('xep_' + plugin)
        self.add_event_handler('session_start', self.begin)
        self.add_event_handler('message', self.message)
        self.add_event_handler('failed_auth', lambda _: tell(event='failed'))

    async def begin(self, _):
        self.send_presence()
        await self.get_roster()
        tell(event='online')

    def message(self, m):
        if m['type'] in ('chat', 'normal') and m['body']:
            tell(event='message', body=m['body'], sender=m['from'].bare, id=m['id'])

    async def do(self, command):
        return await getattr(self, 'do_' + command.pop('do'))(**command)

    async def do_say(self, to, body):
        m = self.make_message(mto=to, mbody=body, mtype='chat')
        m.send()
        return m['id']

    async def do_displayed(self, to, id):
        self['xep_0333'].send_marker(slixmpp.JID(to), id, 'displayed')

    async def do_befriend(self, jid):
        self.send_presence_subscription(pto=jid, ptype='subscribe')

    async def do_archive(self):
        found = []
        async for m in self['xep_0313'].iterate(rsm={'max': 2}):
            found.append(m['mam_result']['forwarded']['stanza']['body'])
        return found

    async def do_publish_avatar(self, path):
        data = open(path, 'rb').read()
        await self['xep_0084'].publish_avatar(data)
        await self['xep_0084'].publish_avatar_metadata(
            [{'id': hashlib.sha1(data).hexdigest(), 'type': 'image/png', 'bytes': len(data)}])

    async def do_avatar(self, jid):
        """The SHA-1 of the picture that the metadata of somebody names, and of the bytes that come."""
        items = await self['xep_0060'].get_items(slixmpp.JID(jid), 'urn:xmpp:avatar:metadata')
        info = items.xml.find('.//{urn:xmpp:avatar:metadata}info')
        data = await self['xep_0084'].retrieve_avatar(slixmpp.JID(jid), info.attrib['id'])
        value = base64.b64decode(data.xml.find('.//{urn:xmpp:avatar:data}data').text)
        return [info.attrib['id'], hashlib.sha1(value).hexdigest()]

    async def do_upload(self, path):
        """The address of a file that is uploaded where the server says."""
        return str(await self['xep_0363'].upload_file(path, content_type='image/png'))

    async def do_photo(self, jid):
        """The SHA-1 of the photo in somebody's vCard."""
        vcard = await self['xep_0054'].get_vcard(slixmpp.JID(jid))
        return hashlib.sha1(vcard['vcard_temp']['PHOTO']['BINVAL']).hexdigest()

    async def do_stop(self):
        await self.disconnect()


async def main():
    port, jid, password, authority = sys.argv[1:]
    device = Device(jid, password, authority)
    device.connect('127.0.0.1', int(port))
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        command = json.loads(line)
        number = command.pop('number')
        try:
            tell(number=number, result=await device.do(command))
        except Exception as error:  # all of it goes to the test
            tell(number=number, error=repr(error))


asyncio.run(main())
