"""A gateway for tests, made with slidge: to a network of which everybody has one contact, who answers."""

from xml.etree import ElementTree as ET

from slidge import BaseGateway, BaseSession
from slidge.contact import LegacyContact, LegacyRoster
from slixmpp import Iq


class Gateway(BaseGateway):
    COMPONENT_NAME = "Verona"
    COMPONENT_TYPE = "verona"
    ROSTER_GROUP = "Verona"

    async def validate(self, user_jid, registration_form):
        return None


class Contact(LegacyContact):
    async def update_info(self):
        self.name = self.legacy_id.title()
        self.is_friend = True
        self.online()

    async def on_message(self, message):
        said = message.body
        if said.startswith("from my phone: "):
            # As if the user had said it with the network's own program.
            self.send_text(said.removeprefix("from my phone: "), carbon=True)
        elif said == "whom do I know?":
            roster = await self.xmpp["xep_0356"].get_roster(self.user_jid.bare)
            self.send_text(" ".join(sorted(str(jid) for jid in roster["roster"]["items"])))
        elif said == "take a note":
            await self.xmpp["xep_0356"].send_privileged_iq(self.note())
            self.send_text("noted")
        else:
            self.send_text("you said " + said)
        return None

    def note(self):
        user = self.user_jid.bare
        iq = Iq(sto=user, sfrom=user, stype="set")
        iq["pubsub"]["publish"]["node"] = "urn:verona:note"
        iq["pubsub"]["publish"]["item"]["id"] = "1"
        iq["pubsub"]["publish"]["item"]["payload"] = ET.Element("{urn:verona:note}note")
        return iq


class Roster(LegacyRoster):
    async def fill(self):
        contact = await self.by_legacy_id("juliet")
        await contact.add_to_roster()
        yield contact


class Session(BaseSession):
    async def login(self):
        return "Here"

    async def logout(self):
        pass
